//! A broker's life, with this test's own binary as the broker.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use protocol::api_key::ApiKey;
use protocol::frame::{RequestHead, response_frame};
use protocol::messages::ApiVersionsResponse;
use protocol::primitives::Reader;

use super::*;

/// Not a test of anything when run by hand: started again by the tests below, it is a broker that answers.
#[test]
fn serves_where_it_is_told_to() {
    let Ok(address) = std::env::var("FAKE_BROKER_LISTENS") else { return };
    let listener = TcpListener::bind(address).unwrap();
    println!("serving");
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut prefix = [0; 4];
        while stream.read_exact(&mut prefix).is_ok() {
            let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
            stream.read_exact(&mut frame).unwrap();
            let head = RequestHead::decode(&mut Reader::new(&frame)).unwrap();
            assert_eq!(head.key, ApiKey::ApiVersions);
            let answer = ApiVersionsResponse::default();
            let answer = response_frame(head.key, head.version, head.correlation_id, &answer).unwrap();
            stream.write_all(&answer).unwrap();
        }
    }
}

/// A target whose broker this test's binary is.
pub(crate) fn fake(arguments: &str, more: &str) -> Target {
    let own = std::env::current_exe().unwrap();
    let text = format!(
        "name = \"fake\"\nversion = \"1\"\nfsync = \"os\"\n[start]\ncommand = \"{}\"\narguments = [{arguments}]\n\
         environment = {{ FAKE_BROKER_LISTENS = \"{{address}}\" }}\n{more}",
        own.display()
    );
    let path = scratch("file").join("fake.toml");
    fs::write(&path, text).unwrap();
    let target = Target::parse(path.to_str().unwrap());
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    target.unwrap()
}

pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("millstream-bench-target-{name}-{}", random()));
    fs::create_dir_all(&path).unwrap();
    path
}

fn random() -> String {
    crate::random::new_id().to_string()
}

fn place(scratch: &Path) -> Place {
    Place { scratch: scratch.join("data"), log: scratch.join("log") }
}

pub(crate) const SERVE: &str = "\"--exact\", \"target::tests::serves_where_it_is_told_to\", \"--nocapture\"";

#[test]
fn a_broker_starts_is_killed_starts_again_and_stops() {
    let scratch = scratch("life");
    let target = fake(SERVE, "[[file]]\npath = \"etc/x\"\ntext = \"{port}\"\n");
    let mut running = Running::start(&target, &Limits::default(), &place(&scratch)).unwrap();
    let folder = running.folder().unwrap().to_owned();
    let port = running.facts().bootstrap.rsplit(':').next().unwrap().to_owned();
    assert_eq!(fs::read_to_string(folder.join("etc/x")).unwrap(), port);
    assert!(running.facts().start_up_us.is_some() && running.ended().is_none());

    let first = running.pid();
    running.kill().unwrap();
    running.start_again(&Limits::default()).unwrap();
    assert!(running.pid() != first && running.ended().is_none());
    running.stop().unwrap();
    assert!(!folder.exists());
    assert!(fs::read_to_string(scratch.join("log")).unwrap().contains("serving"));
    fs::remove_dir_all(scratch).unwrap();
}

#[test]
fn what_is_dropped_is_killed_and_wiped() {
    let scratch = scratch("dropped");
    let running = Running::start(&fake(SERVE, ""), &Limits::default(), &place(&scratch)).unwrap();
    let (folder, pid) = (running.folder().unwrap().to_owned(), running.pid().unwrap());
    drop(running);
    assert!(!folder.exists() && !Path::new(&format!("/proc/{pid}")).exists());
    fs::remove_dir_all(scratch).unwrap();
}

#[test]
fn a_broker_that_ends_or_stays_silent_is_told_with_what_it_said() {
    for (arguments, said) in
        [("\"--no-such-option\"", "ended with exit code"), ("\"--exact\", \"none\"", "0 passed")]
    {
        let scratch = scratch("ends");
        let target = fake(arguments, "");
        let Err(Failure::Failed(why)) = Running::start(&target, &Limits::default(), &place(&scratch)) else {
            panic!("{arguments}: it cannot have served")
        };
        assert!(why.contains(said) && why.contains("log"), "{why}");
        // Nothing of it is left but what it said.
        assert_eq!(fs::read_dir(scratch.join("data")).unwrap().count(), 0);
        fs::remove_dir_all(scratch).unwrap();
    }
    let scratch = scratch("silent");
    let mut target = fake("", "");
    let start = target.file.start.as_mut().unwrap();
    (start.command, start.arguments, start.ready_patience_s) = ("sleep".into(), vec!["60".into()], 0.2);
    let Err(Failure::Failed(why)) = Running::start(&target, &Limits::default(), &place(&scratch)) else {
        panic!("it cannot have served")
    };
    assert!(why.contains("does not answer within 0.2 s") && why.contains("said nothing"), "{why}");
    fs::remove_dir_all(scratch).unwrap();
}

#[test]
fn what_was_not_started_here_is_not_killed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let target = Target::parse(&format!("external,bootstrap={address},fsync=os,label=other")).unwrap();
    let scratch = scratch("external");
    let Err(Failure::Failed(why)) = Running::start(&target, &Limits::default(), &place(&scratch)) else {
        panic!("nobody listens there")
    };
    assert!(why.contains("no answer"), "{why}");
    let Err(Failure::Usage(why)) =
        Running::start(&Target::parse("external").unwrap(), &Limits::default(), &place(&scratch))
    else {
        panic!("it is not known where it runs")
    };
    assert!(why.contains("bootstrap=HOST:PORT"), "{why}");
    fs::remove_dir_all(scratch).unwrap();
}

#[test]
fn a_target_is_named_with_what_differs_from_its_file() {
    let target = Target::parse("kafka,fsync=os,label=kafka-default").unwrap();
    assert_eq!((target.label.as_str(), target.fsync), ("kafka-default", Fsync::Os));
    assert_eq!(target.version.as_deref(), Some("4.3.1"));
    for wrong in
        ["kafka,fsync=maybe", "kafka,fsync", "kafka,pid=1", "external,pid=x", "kafka,label=a b", "kafka,x=y"]
    {
        assert!(matches!(Target::parse(wrong), Err(Failure::Usage(_))), "{wrong}");
    }
    // Its file does not say how.
    assert!(Target::parse("kafka,fsync=unknown").is_err());
}

#[test]
fn labels_tell_targets_apart() {
    let labels = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        Target::parse_all(&texts).unwrap().into_iter().map(|target| target.label).collect::<Vec<_>>()
    };
    assert_eq!(labels(&["kafka", "external"]), ["kafka", "external"]);
    assert_eq!(labels(&["kafka", "kafka,fsync=os"]), ["kafka-every-ack", "kafka-os"]);
    assert_eq!(labels(&["kafka", "kafka"]), ["kafka-every-ack", "kafka-every-ack-2"]);
}
