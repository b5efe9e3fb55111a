//! `account add`, `account list`, `account mail`, `account link`, `token create`, `token list`, `token revoke`.

use std::io::BufRead;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use zeroize::Zeroizing;

use super::mail_choice::{self, Wanted, described};
use super::{Failure, open, open_existing, remark, say};
use crate::config::Config;
use crate::domain::email::Email;
use crate::domain::password::Password;
use crate::domain::text::tidy;
use crate::error::Error;
use crate::service::Service;
use crate::service::accounts::NewAccount;
use crate::service::tokens::{MOST_DAYS, NewToken, TOKEN_LIFE};
use crate::storage::accounts::{self, Account, Role, Scope};
use crate::storage::sign_in::Purpose;

#[derive(Subcommand)]
pub enum AccountCommand {
    /// Add a moderator or an administrator
    #[command(
        after_help = "Examples:\n  afterword account add --email ann@blog.example --role moderator --site blog\n  \
        afterword account add --email ops@blog.example --role admin --password-stdin < password.txt"
    )]
    Add(Add),
    /// List all accounts: address, role, sites, whether they get mail
    #[command(after_help = "Example:\n  afterword account list")]
    List,
    /// Say how an account wants to be told by mail of what waits
    #[command(after_help = "Examples:\n  afterword account mail --email ann@blog.example --digest 60\n  \
        afterword account mail --email ann@blog.example --each --quiet 22:00-07:00 --zone Europe/Berlin\n  \
        afterword account mail --email ann@blog.example --quiet off")]
    Mail(Wanted),
    /// Print a link with which an account chooses a password: the way back for whoever is locked out
    #[command(
        after_help = "Example:\n  afterword account link --email ann@blog.example\n\nTelephone and recovery codes are \
        lost, too:\n  afterword account link --email ann@blog.example --forget-second-factor"
    )]
    Link(Link),
}

#[derive(Args)]
pub struct Link {
    /// The account's e-mail address
    #[arg(long)]
    email: String,
    /// Switch the second factor off as well
    #[arg(long)]
    forget_second_factor: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    Admin,
    Moderator,
}

#[derive(Args)]
pub struct Add {
    /// Where mail reaches them; moderators are told of waiting comments from the start
    #[arg(long)]
    email: String,
    /// A moderator decides on given sites; an administrator does everything
    #[arg(long)]
    role: RoleName,
    /// A site that a moderator looks after; may be given more than once. Without it: the site `default`
    #[arg(long = "site", value_name = "KEY")]
    sites: Vec<String>,
    /// Read a password from standard input. Without a password an account has tokens only
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, alone, on standard output. It is shown this one time
    #[command(after_help = "Example:\n  TOKEN=$(afterword token create --account ann@blog.example --name laptop)\n  \
        curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8080/api/v1/moderation/comments\n\n\
        A program of its own, for 30 days:\n  \
        afterword token create --account ann@blog.example --name import --days 30")]
    Create(Create),
    /// List the tokens of an account: id, name, end, last use
    #[command(after_help = "Example:\n  afterword token list --account ann@blog.example")]
    List {
        /// The account's e-mail address
        #[arg(long, value_name = "EMAIL")]
        account: String,
    },
    /// Take a token back
    #[command(after_help = "Example, with an id from `afterword token list`:\n  \
        afterword token revoke 0190a000-0000-7000-8000-000000000001")]
    Revoke {
        /// Its id, as `token list` shows it
        id: String,
    },
}

#[derive(Args)]
pub struct Create {
    /// The account's e-mail address
    #[arg(long, value_name = "EMAIL")]
    account: String,
    /// What it is for, like "laptop"
    #[arg(long)]
    name: String,
    /// Days until it ends
    #[arg(long, default_value_t = TOKEN_LIFE.as_secs() / 86_400, value_parser = clap::value_parser!(u64).range(1..=MOST_DAYS))]
    days: u64,
    /// How far it goes: `read` looks, `moderate` decides as well, `admin` does all that the account may
    #[arg(long, value_name = "SCOPE", default_value = "admin")]
    scope: String,
}

fn email(text: &str, option: &'static str) -> Result<Email, Failure> {
    Email::parse(&tidy(text), option).map_err(|fault| Failure::Usage(format!("{}: {}", fault.field, fault.message)))
}

pub async fn run_account(config: &Config, command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Add(add) => {
            // What is wrong in itself makes no database.
            let address = email(&add.email, "--email")?;
            add_account(&*open(config).await?, address, add).await
        }
        AccountCommand::List => {
            let service = open_existing(config).await?;
            for account in service.db.read(accounts::all).await? {
                say(&line(&service, &account).await?)?;
            }
            Ok(())
        }
        AccountCommand::Mail(wanted) => mail_choice::run(config, wanted).await,
        AccountCommand::Link(link) => print_link(config, &link).await,
    }
}

async fn print_link(config: &Config, link: &Link) -> Result<(), Failure> {
    let service = open_existing(config).await?;
    let account = find(&service, &link.email, "--email").await?;
    let disabled = || Failure::Failed("this account is disabled; an administrator gives it its rights back".to_owned());
    let token = service.make_link(account.id, Purpose::Reset).await?.ok_or_else(disabled)?;
    if link.forget_second_factor {
        service.forget_totp(account.id).await?;
    }
    remark("Open this within an hour. It works once, and whoever has it gets in:");
    say(&format!("{}/admin/#/link/{token}", config.server.public_url))
}

async fn add_account(service: &Service, email: Email, add: Add) -> Result<(), Failure> {
    let role = match add.role {
        RoleName::Admin => Role::Admin,
        RoleName::Moderator => Role::Moderator,
    };
    let mut keys = add.sites;
    if keys.is_empty() && role == Role::Moderator {
        remark("no --site was given: this moderator looks after the site default");
        keys.push("default".to_owned());
    }
    let mut sites = Vec::new();
    for key in &keys {
        let site = service
            .sites
            .by_key(key)
            .map_err(|_| Failure::Usage(format!("there is no site {key}; see: afterword site list")))?;
        sites.push(site.id);
    }
    let password = if add.password_stdin { Some(read_password(&email)?) } else { None };
    service.add_account(NewAccount { email, role, sites, password }).await?;
    say("added")
}

/// A password from standard input, by the rules of the desk.
fn read_password(email: &Email) -> Result<Password, Failure> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin().lock().read_line(&mut line)?;
    let chosen = Password::choose(line.trim_end_matches(['\r', '\n']), email);
    chosen.map_err(|fault| Failure::Usage(format!("{}: {}", fault.field, fault.message)))
}

async fn line(service: &Service, account: &Account) -> Result<String, Failure> {
    let id = account.id;
    let sites = service.db.read(move |conn| accounts::sites_of(conn, id)).await?;
    let keys: Vec<_> =
        sites.iter().filter_map(|id| service.sites.by_id(*id).ok()).map(|site| site.key.as_str().to_owned()).collect();
    let mail = described(&account.mail.choice());
    let email = service.account_email(account)?;
    let sites = if account.role == Role::Admin { "all sites".to_owned() } else { keys.join(" ") };
    Ok(format!("{email}\t{}\t{sites}\t{mail}", account.role.as_str()))
}

pub async fn run_token(config: &Config, command: TokenCommand) -> Result<(), Failure> {
    let service = open_existing(config).await?;
    match command {
        TokenCommand::Create(create) => {
            let account = find(&service, &create.account, "--account").await?;
            let name = create.name.trim().to_owned();
            if !(1..=100).contains(&name.chars().count()) || name.chars().any(char::is_control) {
                return Err(Failure::Usage("--name is 1 to 100 characters on one line".to_owned()));
            }
            let scope = Scope::from_name(&create.scope)
                .ok_or_else(|| Failure::Usage("--scope is read, moderate or admin".to_owned()))?;
            let life = Duration::from_secs(create.days * 86_400);
            let (token, _) = service.make_token(NewToken { account: account.id, name, scope, life }).await?;
            say(&token)
        }
        TokenCommand::List { account } => {
            let id = find(&service, &account, "--account").await?.id;
            for token in service.db.read(move |conn| accounts::tokens_of(conn, id)).await? {
                let used = token.last_used_at.map_or_else(|| "never used".to_owned(), |at| format!("last used {at}"));
                let state = token
                    .revoked_at
                    .map_or_else(|| format!("ends {}", token.expires_at), |at| format!("taken back {at}"));
                say(&format!("{}\t{}\t{state}\t{used}", token.id, token.name))?;
            }
            Ok(())
        }
        TokenCommand::Revoke { id } => {
            let id =
                id.parse().map_err(|_| Failure::Usage("that is not an id; see: afterword token list".to_owned()))?;
            let now = service.clock.now();
            if service.db.write(move |tx| accounts::revoke_token(tx, id, now)).await? {
                say("taken back")
            } else {
                Err(Failure::Failed("there is no such token, or it was taken back before".to_owned()))
            }
        }
    }
}

pub(super) async fn find(service: &Service, text: &str, option: &'static str) -> Result<Account, Failure> {
    match service.account_by_email(&email(text, option)?).await {
        Err(Error::NotFound) => Err(Failure::Failed(format!(
            "there is no account {text}; see: afterword account list, or add it: afterword account add --email {text} --role moderator"
        ))),
        found => Ok(found?),
    }
}
