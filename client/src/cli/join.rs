//! `shoal join`: makes this device part of a cluster.

use std::io::Write;

use common::bounded::BoundedText;
use common::id::{DeviceId, NodeId};
use common::identity::Role;
use common::identity::certificate::fingerprint;
use common::proto::parts::Label;
use common::ticket::{Ticket, TicketError};
use serde_json::json;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::Outcome;
use super::args::Join;
use super::context::Context;
use super::error::CommandError;
use super::exit::Exit;
use super::key::{self, KeyError};
use super::passphrase;
use crate::keys::MasterKey;
use crate::keystore::{Credentials, Device, Home};
use crate::phrase;
use crate::session::enroll::{self, EnrollError, NewIdentity};

/// Longest text that is read for a ticket.
const INPUT_BYTES: usize = 16 << 10;

pub(super) async fn run(context: &mut Context, args: Join) -> Outcome {
    let path = context.home()?;
    Home::check_free(&path)?; // before the ticket is used up
    let line = ticket_line(&args).await?;
    let ticket: Ticket = line.trim().parse()?;
    if ticket.role() != Role::Client {
        return Err(CommandError::OtherRole { role: ticket.role() }.into());
    }
    let known = known_key(context, &args, &ticket).await?;
    let recover = known.is_some();
    let master = known.unwrap_or_else(MasterKey::random);
    let label = Label::try_from(host_name()).unwrap_or_default();
    let joined = enroll::enroll(&ticket, &context.global.directory, label, Some(master.key_check())).await;
    let new = joined.map_err(|error| explain_other_key(error, recover))?;
    let (device, credentials) = home_of(&new)?;
    let first = new.enrolled.account.as_ref().is_some_and(|account| account.first);
    let account = device.account_name.clone();
    let words = phrase::of_key(&master);
    let made = spawn_blocking(move || Home::create(&path, device, credentials, master)).await??;
    report(context, &made, &account, (first && !recover).then_some(&words))?;
    Ok(Exit::Ok)
}

async fn ticket_line(args: &Join) -> anyhow::Result<Zeroizing<String>> {
    if args.ticket == "-" {
        return key::read_stdin(INPUT_BYTES).await;
    }
    let text = args.ticket.to_str().ok_or(TicketError::Foreign)?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The account's key, for a further device; `None` makes a new one.
async fn known_key(context: &Context, args: &Join, ticket: &Ticket) -> anyhow::Result<Option<MasterKey>> {
    if args.recover {
        return Ok(Some(key::read_phrase(context).await?));
    }
    let Some(file) = args.recover_from.clone() else { return Ok(None) };
    let closed = key::read_exported(file).await?;
    let exported = passphrase::open_exported(args.passphrase.export_passphrase_file.as_deref(), closed).await?;
    // Of the account only the directory knows whether it is the ticket's, and it refuses another key.
    if exported.cluster != ticket.cluster() {
        return Err(KeyError::OtherCluster { found: exported.cluster, wanted: ticket.cluster() }.into());
    }
    Ok(Some(exported.master))
}

/// The directory refuses another key for an account that has one: that is not an error of trust but a missing phrase.
fn explain_other_key(error: EnrollError, recover: bool) -> anyhow::Error {
    use common::proto::Refusal;
    use common::transport::CallError;
    match &error {
        EnrollError::Refused(CallError::Refused(Refusal::OtherKey)) if !recover => CommandError::NeedsPhrase.into(),
        _ => error.into(),
    }
}

fn home_of(new: &NewIdentity) -> anyhow::Result<(Device, Credentials)> {
    let enrolled = &new.enrolled;
    let missing = EnrollError::Misbehaved { what: "it names no account" };
    let account = enrolled.account.as_ref().ok_or(missing)?;
    let device = Device {
        cluster: enrolled.cluster,
        account: account.account,
        account_name: account.name.to_string(),
        root: NodeId(account.root.0),
        device: DeviceId(enrolled.id),
        directory: enrolled.directory.iter().map(BoundedText::to_string).collect(),
        statement_key: enrolled.statement_key,
        ca_fingerprint: fingerprint(&new.authority),
    };
    let credentials = Credentials {
        authority: new.authority.to_vec(),
        certificate: enrolled.certificate.to_vec(),
        private_key: Zeroizing::new(new.key.to_der().secret_der().to_vec()),
    };
    Ok((device, credentials))
}

/// The phrase goes to standard output, the one time that it is shown unasked: whoever pipes it somewhere means to keep it there.
fn report(context: &mut Context, home: &Home, account: &str, words: Option<&Zeroizing<String>>) -> std::io::Result<()> {
    let output = &mut context.output;
    if output.is_json() {
        return output.object(&json!({
            "cluster": home.device.cluster.to_string(),
            "account": account,
            "device": home.device.device.to_string(),
            "home": home.path.to_string_lossy(),
            "recovery_phrase": words.map(|words| words.as_str()),
        }));
    }
    output.line(format_args!(
        "joined cluster {} as device {} of account {}",
        home.device.cluster.short(),
        home.device.device.short(),
        crate::names::Shown(account.as_bytes()),
    ))?;
    if let Some(words) = words {
        output.line("")?;
        output.line("Recovery phrase of this account. Write it down and keep it safe: without it and without")?;
        output.line("this device nobody can read the files again. Then see that it is right: shoal key verify")?;
        output.line("")?;
        let words: Vec<&str> = words.split(' ').collect();
        for line in words.chunks(6) {
            output.line(format_args!("    {}", line.join(" ")))?;
        }
        output.line("")?;
    }
    output.flush()?;
    std::io::stdout().flush()
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.chars().take(common::limits::LABEL_BYTES / 4).collect()
}
