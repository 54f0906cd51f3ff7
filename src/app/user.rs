//! `ringway user`: accounts, straight in the database.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use super::{show, terminal_sys};
use crate::io::store::{NewAccount, Store};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make an account
    Add {
        /// Lower-case letters, digits, . _ -
        name: String,
        /// What others dial, as 201 or +4930123
        #[arg(long)]
        number: Option<String>,
        /// What others see when this account calls
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Give an account another password
    Passwd {
        /// Whose
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List all accounts
    List,
    /// Remove an account; its calls stay on record
    Remove {
        /// Whose
        name: String,
    },
}

/// Where the password comes from; without either it is asked for twice, unseen.
#[derive(Args)]
pub(super) struct PasswordArgs {
    /// The password itself (other users of this machine can see it while the command runs)
    #[arg(long, value_name = "TEXT", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

impl std::fmt::Debug for PasswordArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordArgs(…)")
    }
}

impl PasswordArgs {
    fn read(self) -> anyhow::Result<String> {
        if let Some(password) = self.password {
            return Ok(password);
        }
        if self.password_stdin {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
            return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
        }
        if !io::stdin().is_terminal() {
            bail!("a password is needed: give it by --password-stdin or --password (there is no terminal to ask on)");
        }
        let password = terminal_sys::ask_hidden("Password")?;
        if terminal_sys::ask_hidden("Again")? != password {
            bail!("the two passwords are not the same; nothing was changed");
        }
        Ok(password)
    }
}

pub(super) fn user(store: &mut Store, command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Add { name, number, display_name, password } => {
            let password = password.read()?;
            let number = number.as_deref();
            store.add_account(NewAccount { name: &name, number, display_name: display_name.as_deref(), password: &password })?;
            match number {
                Some(number) => show(&format!("Account {name} with number {number} is ready.\n")),
                None => show(&format!("Account {name} is ready; others dial its name.\n")),
            }
        }
        UserCommand::Passwd { name, password } => {
            store.set_password(&name, &password.read()?)?;
            show(&format!("Account {name} has a new password.\n"))
        }
        UserCommand::List => list(store),
        UserCommand::Remove { name } => {
            store.remove_account(&name)?;
            show(&format!("Account {name} is removed.\n"))
        }
    }
}

fn list(store: &Store) -> anyhow::Result<()> {
    let accounts = store.list_accounts()?;
    if accounts.is_empty() {
        return show("There is no account yet: ringway user add alice --number 201\n");
    }
    let width = accounts.iter().map(|account| account.name.len()).max().unwrap_or(0).max(4);
    let numbers = accounts.iter().filter_map(|account| account.number.as_ref()).map(String::len).max().unwrap_or(0).max(6);
    let mut text = format!("{:width$}  {:numbers$}  DISPLAY NAME\n", "NAME", "NUMBER");
    for account in accounts {
        let shown = account.display_name.unwrap_or_default();
        let line = format!("{:width$}  {:numbers$}  {shown}", account.name, account.number.unwrap_or_default());
        writeln!(text, "{}", line.trim_end())?;
    }
    show(&text)
}
