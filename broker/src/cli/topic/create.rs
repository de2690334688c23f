//! `millstream topic create`.

use protocol::error_code::ErrorCode;
use protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use protocol::messages::create_topics_response::CreatableTopicResult;
use protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use crate::cli::client::{Brokers, Client, ClientError, To};
use crate::cli::failure::{Failure, all_told};
use crate::cli::output::Output;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream topic create orders
  millstream topic create orders --partitions 12 --config retention.ms=86400000
  millstream topic create users --config cleanup.policy=compact --if-not-exists")]
pub(crate) struct Arguments {
    /// One or more names
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    #[command(flatten)]
    brokers: Brokers,
    /// How many partitions; the broker's num.partitions, if not said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many brokers keep each partition; the broker's default.replication.factor, if not said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A topic setting by Kafka's name; may be repeated
    #[arg(long = "config", value_name = "KEY=VALUE", value_parser = setting)]
    configs: Vec<(String, String)>,
    /// Be content with a topic that exists, whatever it looks like
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether it would work
    #[arg(long)]
    dry_run: bool,
}

/// The controller chooses.
const DEFAULT: i16 = -1;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut client = Client::connect(&arguments.brokers)?;
    let request = CreateTopicsRequest {
        topics: arguments.names.iter().map(|name| creatable(arguments, name)).collect(),
        timeout_ms: client.timeout().as_millis().try_into().unwrap_or(i32::MAX),
        validate_only: arguments.dry_run,
    };
    let answer: CreateTopicsResponse = client.retry(|client| client.ask(To::Any, &request, i16::MAX))?;
    let mut output = Output::stdout();
    let mut failures = Vec::new();
    for result in &answer.topics {
        let existed = ErrorCode(result.error_code) == ErrorCode::TOPIC_ALREADY_EXISTS;
        if existed && arguments.if_not_exists {
            output.line(&format!("{} exists", result.name))?;
            continue;
        }
        let what = || format!("cannot create topic {}", result.name);
        match ClientError::check(result.error_code, result.error_message.as_deref(), what) {
            Ok(()) => output.line(&told(arguments, result))?,
            Err(error) => failures.push(error),
        }
    }
    output.flush()?;
    all_told(failures)
}

fn creatable(arguments: &Arguments, name: &str) -> CreatableTopic {
    let config = |(name, value): &(String, String)| CreatableTopicConfig {
        name: name.clone(),
        value: Some(value.clone()),
    };
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: arguments.partitions.unwrap_or(DEFAULT.into()),
        replication_factor: arguments.replication_factor.unwrap_or(DEFAULT),
        configs: arguments.configs.iter().map(config).collect(),
        ..Default::default()
    }
}

fn told(arguments: &Arguments, result: &CreatableTopicResult) -> String {
    let done = if arguments.dry_run { "could be created" } else { "created" };
    // Brokers before version 5 of the answer do not say how many.
    match (result.num_partitions, result.replication_factor) {
        (partitions @ 1.., replicas @ 1..) => {
            let (s, es) = (if partitions == 1 { "" } else { "s" }, if replicas == 1 { "" } else { "s" });
            format!("{} {done}: {partitions} partition{s}, {replicas} replica{es}", result.name)
        }
        _ => format!("{} {done}", result.name),
    }
}

/// `KEY=VALUE`. The value may be empty and may hold another `=`.
fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as retention.ms=86400000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_split_at_the_first_equals_sign() {
        let is =
            |text, key: &str, value: &str| assert_eq!(setting(text), Ok((key.to_owned(), value.to_owned())));
        is("retention.ms=1000", "retention.ms", "1000");
        is(" a = b=c", "a", " b=c");
        is("a=", "a", "");
        assert!(setting("retention.ms").is_err() && setting("=1").is_err());
    }
}
