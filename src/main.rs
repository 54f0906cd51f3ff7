//! The `ringway` command: everything it does is in `ringway::app`.

fn main() -> std::process::ExitCode {
    ringway::app::main()
}
