//! `millstream config`: checks a broker's file; shows and changes settings of what runs.

use std::fmt;

use super::client::{Client, ClientError, Resource, ResourceKind};
use super::failure::Failure;

mod alter;
mod check;
mod get;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Read a file as the broker would, and tell what is wrong with it
    Check(check::Arguments),
    /// Show the settings of a topic, a group or a broker, and where each comes from
    Get(get::Arguments),
    /// Change settings of a topic, a group or a broker; they hold at once
    Set(alter::Set),
    /// Give settings of a topic, a group or a broker back to their defaults
    Unset(alter::Unset),
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Check(arguments) => check::run(arguments),
        Command::Get(arguments) => get::run(arguments),
        Command::Set(arguments) => alter::set(arguments),
        Command::Unset(arguments) => alter::unset(arguments),
    }
}

/// Whose settings.
#[derive(clap::Args, Clone, Debug)]
struct Whose {
    kind: Kind,
    /// The topic, the group (which need not exist), or the broker's id; `all` for all brokers
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Topic,
    Group,
    Broker,
}

/// What stands for the settings of all brokers.
const ALL_BROKERS: &str = "all";

impl Whose {
    fn resource(&self) -> Result<Resource, Failure> {
        let (kind, name) = match (self.kind, self.name.as_str()) {
            (Kind::Topic, name) => (ResourceKind::Topic, name),
            (Kind::Group, name) => (ResourceKind::Group, name),
            (Kind::Broker, ALL_BROKERS) => (ResourceKind::Broker, ""),
            (Kind::Broker, name) if name.parse::<i32>().is_ok() => (ResourceKind::Broker, name),
            (Kind::Broker, name) => {
                let text = format!("{name} is no broker: a broker is named by its id");
                return Err(Failure::usage(text).next("say `broker 1`, or `broker all` for all of them"));
            }
        };
        Ok(Resource { kind, name: name.to_owned() })
    }

    /// The error that people understand.
    fn failed(&self, error: ClientError) -> Failure {
        match error.code() {
            Some(protocol::error_code::ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                ClientError::NoSuchTopic(self.name.clone()).into()
            }
            _ => error.into(),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.name.as_str()) {
            (Kind::Topic, name) => write!(f, "topic {name}"),
            (Kind::Group, name) => write!(f, "group {name}"),
            (Kind::Broker, ALL_BROKERS) => f.write_str("all brokers"),
            (Kind::Broker, name) => write!(f, "broker {name}"),
        }
    }
}

/// Connects, and meets the brokers if one of them is meant.
fn connect(brokers: &super::client::Brokers, resource: &Resource) -> Result<Client, Failure> {
    let mut client = Client::connect(brokers)?;
    if resource.node().is_some() {
        client.retry(Client::meet_brokers)?;
    }
    Ok(client)
}
