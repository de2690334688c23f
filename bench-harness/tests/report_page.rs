//! The report page in a real browser: it says nothing on the console, shows itself in light and dark, and every point is
//! where it belongs.
//!
//! Needs Chromium (BENCH_BROWSER names another path); without one the test says so and passes, unless REQUIRE=1.
//! BENCH_SCREENSHOTS names a folder to keep the page and its pictures in.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of files and a browser")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer};
use serde_json::{Value, json};

const RECORDS: u64 = 10_000;
const SECONDS: usize = 20;
const WIDTH: usize = 1200;
const HEIGHT: usize = 5600;
/// As on a telephone, as far as a browser's window goes.
const NARROW: usize = 500;

#[test]
fn the_page_is_whole_in_a_browser_in_light_and_dark() {
    let Some(browser) = browser() else {
        assert!(
            std::env::var("REQUIRE").as_deref() != Ok("1"),
            "no Chromium on this machine; BENCH_BROWSER names one"
        );
        eprintln!("skipped: no Chromium on this machine; BENCH_BROWSER names one");
        return;
    };
    let folder = Folder::new("page");
    let page = make_page(&folder.0);
    let probed = folder.0.join("probed.html");
    let text = fs::read_to_string(&page).unwrap();
    fs::write(&probed, text.replace("</body>", &format!("<script>{PROBE}</script></body>"))).unwrap();
    for (scheme, width) in [("light", WIDTH), ("dark", WIDTH), ("light", NARROW)] {
        let found = probe(&browser, &probed, scheme, width, &folder.0);
        check_probe(&found, scheme);
    }
    for scheme in ["light", "dark"] {
        let picture = screenshot(&browser, &page, scheme, &folder.0);
        check_picture(&picture, scheme);
    }
}

/// Two targets in three rounds and one more run that may not be used; then a sweep of which one target does not hold
/// the highest rate; then groups without records.
fn make_page(folder: &Path) -> PathBuf {
    let late = || json!({"kind": "invalid", "why": "the generator was late"});
    let valid = || json!({"kind": "valid"});
    for round in 0..3_u64 {
        let at = |target| Place {
            file: format!("rounds-{target}-{round}.json"),
            target,
            workload: "x",
            rate: 500.0,
        };
        write_result(folder, &at("millstream"), 100 + 3 * round, valid());
        write_result(folder, &at("kafka"), 450 + 10 * round, valid());
    }
    let place = Place { file: "rounds-kafka-late.json".into(), target: "kafka", workload: "x", rate: 500.0 };
    write_result(folder, &place, 90_000, late());
    for (step, rate) in [(100, 1000.0), (200, 2000.0), (4000, 3000.0)] {
        let at = |target| Place { file: format!("sweep-{target}-{rate}.json"), target, workload: "y", rate };
        write_result(folder, &at("millstream"), step, valid());
        write_result(folder, &at("kafka"), step * 3, if rate < 3000.0 { valid() } else { late() });
    }
    for target in ["millstream", "kafka"] {
        write_groups(folder, target);
    }
    let page = folder.join("report.html");
    let output = Command::new(env!("CARGO_BIN_EXE_millstream-bench"))
        .arg("report")
        .arg(folder)
        .arg("-o")
        .arg(&page)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    page
}

struct Place {
    file: String,
    target: &'static str,
    workload: &'static str,
    rate: f64,
}

fn write_result(folder: &Path, place: &Place, step_ns: u64, outcome: Value) {
    let ack = percentiles(step_ns);
    let seconds: Vec<Value> = (0..SECONDS)
        .map(|at| {
            let mut second = json!({"at_s": at as f64, "sent": 500, "acked": 500, "delivered": 500});
            let latencies = json!({
                "ack_p50_us": 100.0, "ack_p99_us": ack["p99_us"], "ack_max_us": ack["max_us"],
                "end_to_end_p50_us": 0.0, "end_to_end_p99_us": 0.0, "end_to_end_max_us": 0.0, "lag_max_us": 5.0,
            });
            second.as_object_mut().unwrap().extend(latencies.as_object().unwrap().clone());
            second
        })
        .collect();
    let result = json!({
        "format": 1, "harness": "0", "command": ["millstream-bench", "run", "x"], "began_ms": 1_700_000_000_000_i64,
        "outcome": outcome, "target": {"name": place.target, "bootstrap": "h:1", "version": "1", "fsync": "every-ack"},
        "workload": {
            "name": place.workload, "about": "For this test.", "duration_s": SECONDS as f64, "topics": {}, "records": {},
            "produce": {"rate": place.rate}, "consume": {},
        },
        "machine": {"kernel": "6.12", "cpu": {"model": "A CPU", "logical": 8, "cores": 8}},
        "records": {
            "sent": RECORDS, "acked": RECORDS, "failed": 0, "delivered": RECORDS, "lost": 0, "duplicated": 0,
            "reordered": 0, "corrupted": 0, "acked_per_s": place.rate, "acked_mib_per_s": 0.5, "delivered_per_s": 500.0,
        },
        "latency": {"ack": ack, "end_to_end": percentiles(step_ns * 2)},
        "seconds": seconds,
        "generator": {"client": "own", "threads": 1, "user_s": 1.0, "system_s": 1.0, "records_per_cpu_s": 5000.0, "lag": null},
        "broker": {
            "user_s": 2.0, "system_s": 1.0, "cpu_us_per_record": 3.0 + step_ns as f64 / 1000.0, "cpu_s_per_gib": 1.0,
            "context_switches": 10, "resident_bytes": 1, "peak_resident_bytes": 1,
            "device_written_bytes": null, "write_amplification": null,
        },
    });
    fs::write(folder.join(&place.file), result.to_string()).unwrap();
}

fn write_groups(folder: &Path, target: &str) {
    let document = json!({
        "format": 1, "kind": "groups", "harness": "0", "command": ["millstream-bench", "groups", "steady"],
        "began_ms": 1_700_000_000_000_i64, "machine": {"kernel": "6.12", "cpu": {"model": "A CPU", "logical": 8, "cores": 8}},
        "target": {"name": target, "bootstrap": "h:1", "version": "1", "fsync": "every-ack"}, "load": "steady",
        "protocol": "consumer", "groups": 1000, "members": 10, "partitions": 10, "connections": 10_000,
        "why_incomplete": null, "forming_s": 2.0, "seconds": 20.0,
        "heartbeats": {"count": RECORDS, "per_s": 2000.0, "latency": percentiles(100), "lag": percentiles(10)},
        "commits": null, "again": {"UNKNOWN_MEMBER_ID": 1}, "rounds": [], "generator": {"user_s": 1.0, "system_s": 1.0},
        "all_cpus": {"busy": 0.5, "steal": 0.0},
        "broker": {
            "resident_before_bytes": 10_000_000, "user_s": 2.0, "system_s": 1.0, "cpu_us_per_record": 30.0,
            "cpu_s_per_gib": 0.0, "context_switches": 10, "resident_bytes": 20_000_000, "peak_resident_bytes": 20_000_000,
            "device_written_bytes": null, "write_amplification": null,
        },
    });
    fs::write(folder.join(format!("groups-{target}.json")), document.to_string()).unwrap();
}

fn percentiles(step_ns: u64) -> Value {
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    for n in 1..=RECORDS {
        histogram.record(n * step_ns).unwrap();
    }
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).unwrap();
    let us = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    json!({
        "count": RECORDS, "min_us": us(0.0), "mean_us": us(0.5), "p50_us": us(0.5), "p90_us": us(0.9),
        "p99_us": us(0.99), "p99_9_us": us(0.999), "p99_99_us": us(0.9999), "max_us": us(1.0),
        "histogram": STANDARD.encode(bytes),
    })
}

/// Runs in the page, in a copy made for it: the page itself has no script.
const PROBE: &str = r#"
  const plots = {};
  const stray = [];
  for (const svg of document.querySelectorAll('.plot > svg')) {
    const frame = svg.getBoundingClientRect();
    const points = [...svg.querySelectorAll('.pt')];
    plots[svg.parentElement.id] = points.length;
    for (const it of [...points, ...svg.querySelectorAll('text')]) {
      const box = it.getBoundingClientRect();
      const inside = box.left >= frame.left - 1 && box.right <= frame.right + 1
        && box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1;
      if (!inside || !(box.width > 0)) stray.push(svg.parentElement.id + ' ' + it.outerHTML);
    }
  }
  const numbers = [...document.querySelectorAll('td.n')];
  const found = {
    plots, stray,
    scheme: matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light',
    left: numbers.filter(it => getComputedStyle(it).textAlign !== 'right').length,
    numbers: numbers.length,
    wide: document.documentElement.scrollWidth > innerWidth,
    headless: [...document.querySelectorAll('table')].filter(it => !it.caption || !it.tHead).length,
    unnamed: [...document.querySelectorAll('.plot > svg')].filter(it => !it.querySelector('title').textContent).length,
    marks: [...document.querySelectorAll('.mark')].map(it => it.textContent),
    parts: [...document.querySelectorAll('h3')].map(it => it.textContent),
  };
  const out = document.createElement('pre');
  out.id = 'found';
  out.textContent = 'FOUND' + btoa(unescape(encodeURIComponent(JSON.stringify(found)))) + 'END';
  document.body.append(out);
"#;

fn check_probe(found: &Value, scheme: &str) {
    assert_eq!(found["scheme"], scheme);
    // Four nines in tenths and the beginning; two lines of latency, one of the rate; user and system.
    let (percentiles, latency, rate, cpu) = (2 * 41, 2 * 2 * SECONDS, 2 * SECONDS, 2 * 2);
    let expected = json!({
        "m0w0-ack": percentiles, "m0w0-e2e": percentiles, "m0w0-time": latency, "m0w0-rate": rate, "m0w0-cpu": cpu,
        "m0w1-ack": percentiles, "m0w1-e2e": percentiles, "m0w1-time": latency, "m0w1-rate": rate, "m0w1-cpu": cpu,
        // Three rates, of which one target holds two; and a cross.
        "m0w1-knee": 3 + 2, "m0w1-throughput": 3 + 2 + 1,
    });
    assert_eq!(found["plots"], expected);
    assert_eq!(found["stray"], json!([]), "drawn outside its plot, or not at all");
    assert_eq!((&found["left"], &found["headless"], &found["unnamed"]), (&json!(0), &json!(0), &json!(0)));
    assert_eq!(found["wide"], false, "the page scrolls sideways");
    assert!(found["numbers"].as_u64().unwrap() > 50, "{found}");
    assert_eq!(found["marks"], json!(["INVALID", "INVALID"]));
    assert_eq!(found["parts"], json!(["x", "y", "Groups without records: steady"]));
}

fn probe(browser: &Path, page: &Path, scheme: &str, width: usize, folder: &Path) -> Value {
    let output = run(browser, scheme, width, folder, &["--dump-dom".into()], page);
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.split_once("FOUND").and_then(|(_, rest)| rest.split_once("END"));
    // The probe's own text stands in the page before what it found.
    let found = text.rsplit_once(">FOUND").and_then(|(_, rest)| rest.split_once("END")).or(found);
    let (found, _) = found.unwrap_or_else(|| panic!("the probe did not run:\n{text}"));
    serde_json::from_slice(&STANDARD.decode(found).unwrap()).unwrap()
}

fn screenshot(browser: &Path, page: &Path, scheme: &str, folder: &Path) -> Picture {
    let file = folder.join(format!("{scheme}.png"));
    run(browser, scheme, WIDTH, folder, &[format!("--screenshot={}", file.display())], page);
    if let Ok(keep) = std::env::var("BENCH_SCREENSHOTS") {
        fs::create_dir_all(&keep).unwrap();
        fs::copy(&file, Path::new(&keep).join(format!("report-{scheme}.png"))).unwrap();
        fs::copy(page, Path::new(&keep).join("report.html")).unwrap();
    }
    Picture::read(&fs::read(&file).unwrap())
}

fn run(browser: &Path, scheme: &str, width: usize, folder: &Path, more: &[String], page: &Path) -> Output {
    let preferred = if scheme == "dark" { 0 } else { 1 };
    let output = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ])
        .args(["--no-first-run", "--disable-extensions", "--enable-logging=stderr", "--log-level=0"])
        .arg(format!("--blink-settings=preferredColorScheme={preferred}"))
        .arg(format!("--window-size={width},{HEIGHT}"))
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(more)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = stderr.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert_eq!(said, [""; 0], "on the console");
    output
}

fn browser() -> Option<PathBuf> {
    if let Ok(path) = std::env::var("BENCH_BROWSER") {
        return Some(path.into());
    }
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&folders)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file());
    in_path.or_else(|| {
        let cache = PathBuf::from(std::env::var_os("HOME")?).join(".cache/ms-playwright");
        let all = fs::read_dir(cache)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path().join("chrome-linux/chrome")));
        all.into_iter().find(|path| path.is_file())
    })
}

fn check_picture(picture: &Picture, scheme: &str) {
    assert_eq!((picture.width, picture.height), (WIDTH, HEIGHT));
    let mut colours: Vec<[u8; 3]> = picture.pixels.clone();
    colours.sort_unstable();
    colours.dedup();
    assert!(colours.len() > 100, "{scheme}: {} colours", colours.len());
    let sum: u64 = picture.pixels.iter().flatten().map(|it| u64::from(*it)).sum();
    let brightness = sum as f64 / (picture.pixels.len() * 3 * 255) as f64;
    let is_right = if scheme == "dark" { brightness < 0.3 } else { brightness > 0.8 };
    assert!(is_right, "{scheme}: brightness {brightness:.2}");
    // Ink in every fourth of the page: nothing is missing below a certain point.
    let ground = picture.pixels[0];
    for part in picture.pixels.chunks(picture.pixels.len() / 4) {
        let ink = part.iter().filter(|pixel| **pixel != ground).count();
        assert!(ink * 200 > part.len(), "{scheme}: a part of the page is blank");
    }
}

struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// PNG of 8 bits, with or without alpha, not interlaced: what browsers write.
    fn read(bytes: &[u8]) -> Self {
        assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let (width, height) = (number(16), number(20));
        let step = match (bytes[24], bytes[25], bytes[28]) {
            (8, 2, 0) => 3,
            (8, 6, 0) => 4,
            other => panic!("a PNG of another kind: {other:?}"),
        };
        let mut packed = Vec::new();
        let mut at = 8;
        while at + 8 <= bytes.len() {
            if &bytes[at + 4..at + 8] == b"IDAT" {
                packed.extend_from_slice(&bytes[at + 8..at + 8 + number(at)]);
            }
            at += 12 + number(at);
        }
        let mut raw = Vec::new();
        flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_end(&mut raw).unwrap();
        let mut before = vec![0; width * step];
        let mut pixels = Vec::with_capacity(width * height);
        for line in raw.chunks_exact(1 + width * step) {
            let line = unfiltered(line[0], &line[1..], &before, step);
            pixels.extend(line.chunks_exact(step).map(|pixel| [pixel[0], pixel[1], pixel[2]]));
            before = line;
        }
        Self { width, height, pixels }
    }
}

fn unfiltered(filter: u8, line: &[u8], above: &[u8], step: usize) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(line.len());
    for (at, byte) in line.iter().enumerate() {
        let left = at.checked_sub(step).map_or(0, |it| out[it]);
        let corner = at.checked_sub(step).map_or(0, |it| above[it]);
        let (a, b, c) = (i32::from(left), i32::from(above[at]), i32::from(corner));
        let guess = match filter {
            0 => 0,
            1 => a,
            2 => b,
            3 => (a + b) / 2,
            4 => {
                let p = a + b - c;
                let (pa, pb, pc) = ((p - a).abs(), (p - b).abs(), (p - c).abs());
                if pa <= pb && pa <= pc {
                    a
                } else if pb <= pc {
                    b
                } else {
                    c
                }
            }
            other => panic!("filter {other}"),
        };
        out.push(byte.wrapping_add(guess as u8));
    }
    out
}

/// Gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
