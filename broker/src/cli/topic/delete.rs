//! `millstream topic delete`. What it does cannot be undone, so it asks.

use std::io::{self, IsTerminal, Write};

use protocol::error_code::ErrorCode;
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use crate::cli::client::{Brokers, Client, ClientError, To};
use crate::cli::failure::{Failure, all_told};
use crate::cli::output::Output;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  millstream topic delete orders
  millstream topic delete orders old-orders --yes")]
pub(crate) struct Arguments {
    /// One or more names
    #[arg(required = true, value_name = "TOPIC")]
    names: Vec<String>,
    #[command(flatten)]
    brokers: Brokers,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Be content if a topic is not there
    #[arg(long)]
    if_exists: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if !arguments.yes {
        confirm(&arguments.names)?;
    }
    let mut client = Client::connect(&arguments.brokers)?;
    let by_name = |name: &String| DeleteTopicState { name: Some(name.clone()), ..Default::default() };
    let request = DeleteTopicsRequest {
        topics: arguments.names.iter().map(by_name).collect(),
        timeout_ms: client.timeout().as_millis().try_into().unwrap_or(i32::MAX),
        ..Default::default()
    };
    let answer: DeleteTopicsResponse = client.retry(|client| client.ask(To::Any, &request, i16::MAX))?;
    let mut output = Output::stdout();
    let mut failures = Vec::new();
    for result in &answer.responses {
        let name = result.name.as_deref().unwrap_or("?");
        let is_unknown = ErrorCode(result.error_code) == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        if is_unknown && arguments.if_exists {
            output.line(&format!("{name} does not exist"))?;
            continue;
        }
        let what = || format!("cannot delete topic {name}");
        match ClientError::check(result.error_code, result.error_message.as_deref(), what) {
            Ok(()) => output.line(&format!("{name} deleted"))?,
            Err(_) if is_unknown => failures.push(ClientError::NoSuchTopic(name.to_owned())),
            Err(error) => failures.push(error),
        }
    }
    output.flush()?;
    all_told(failures)
}

fn confirm(names: &[String]) -> Result<(), Failure> {
    let listed = names.join(", ");
    if !io::stdin().is_terminal() {
        let text = format!("deleting {listed} cannot be undone, and nobody is there to be asked");
        return Err(Failure::usage(text).next("add --yes if that is what you want"));
    }
    let (word, noun) = (if names.len() == 1 { names[0].as_str() } else { "delete" }, "and all records in it");
    let asked = write!(io::stderr(), "This deletes {listed} {noun}. Type `{word}` to go on: ");
    asked.and_then(|()| io::stderr().flush()).map_err(|error| Failure::of_output(&error))?;
    let mut typed = String::new();
    let read = io::stdin().read_line(&mut typed);
    match read {
        Ok(_) if typed.trim() == word => Ok(()),
        Ok(_) => Err(Failure::failed("nothing was deleted")),
        Err(error) => Err(Failure::failed(format!("cannot read the answer: {error}"))),
    }
}
