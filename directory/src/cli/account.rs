//! Account: what accounts use and may use.

use common::id::RequestId;
use common::proto::directory::{AccountLine, Quota, SetQuota};
use common::size::ByteSize;
use directory::Config;
use directory::admin::Desk;
use serde_json::json;

use super::arguments::{AccountCommand, AccountList, AccountQuota};
use super::explain::Failure;
use super::say;

pub(super) async fn run(command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::List(command) => list(command).await,
        AccountCommand::Quota(command) => quota(command).await,
    }
}

async fn list(command: AccountList) -> Result<(), Failure> {
    let desk = Desk::open(&Config::new(command.data)).await?;
    let accounts = desk.accounts().await;
    desk.close().await;
    let accounts = accounts?;
    let lines: Vec<String> = accounts.iter().map(if command.json { json_of } else { text_of }).collect();
    if lines.is_empty() { Ok(()) } else { say(&lines.join("\n")) }
}

async fn quota(command: AccountQuota) -> Result<(), Failure> {
    let account = command.name.clone().try_into().map_err(|_| Failure::AccountName)?;
    let quota = Quota { bytes: command.bytes.0, files: command.files.0 };
    let desk = Desk::open(&Config::new(command.data)).await?;
    let done = desk.set_quota(&SetQuota { request: RequestId::random(), account, quota }).await;
    desk.close().await;
    done?;
    let bytes = quota.bytes.map_or("any number of bytes".to_owned(), |bytes| ByteSize(bytes).to_string());
    let files = quota.files.map_or("any number of".to_owned(), |files| files.to_string());
    say(&format!("{} may use {bytes} and {files} versions of files", command.name))
}

/// Of how many, where that is bounded.
fn of(most: Option<String>) -> String {
    most.map_or_else(String::new, |most| format!(" of {most}"))
}

fn text_of(line: &AccountLine) -> String {
    let usage = &line.usage;
    format!(
        "{:<20} {}{} stored, {}{} versions of files",
        &*line.name,
        ByteSize(usage.bytes),
        of(usage.quota.bytes.map(|bytes| ByteSize(bytes).to_string())),
        usage.files,
        of(usage.quota.files.map(|files| files.to_string())),
    )
}

fn json_of(line: &AccountLine) -> String {
    json!({
        "account": line.account.to_string(),
        "name": &*line.name,
        "bytes": line.usage.bytes,
        "files": line.usage.files,
        "quota_bytes": line.usage.quota.bytes,
        "quota_files": line.usage.quota.files,
    })
    .to_string()
}
