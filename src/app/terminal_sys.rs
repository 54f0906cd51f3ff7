//! The terminal, asked for a line that it does not show.
#![allow(unsafe_code)]

use std::io::{self, BufRead as _, Write as _};
use std::mem::MaybeUninit;

/// Asks `question` on standard error and reads a line from standard input without echo.
///
/// # Errors
/// Standard input is no terminal, or has ended.
pub(super) fn ask_hidden(question: &str) -> io::Result<String> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "{question}: ")?;
    stderr.flush()?;
    let shown = settings()?;
    let mut hidden = shown;
    hidden.c_lflag &= !libc::ECHO;
    apply(&hidden)?;
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    apply(&shown)?;
    writeln!(stderr)?;
    match read? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}

fn settings() -> io::Result<libc::termios> {
    let mut settings = MaybeUninit::<libc::termios>::uninit();
    // SAFETY: the pointer is to memory for one termios, which the call fills when it returns 0.
    if unsafe { libc::tcgetattr(libc::STDIN_FILENO, settings.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned 0.
    Ok(unsafe { settings.assume_init() })
}

fn apply(settings: &libc::termios) -> io::Result<()> {
    // SAFETY: the pointer is to a termios that lives for the call.
    if unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, settings) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
