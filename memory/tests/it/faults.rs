//! Disks and neighbours as they are in life.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Command;

use codriver_memory::{ConversationId, Memory, MemoryError, Mode, Scope};
use uuid::Uuid;

use crate::support::{folder, helper, helper_path, turn};

/// The helper: a kernel's work, and then it says what it was told is safe.
#[test]
fn helper_works_beside_others() {
    let Some(path) = helper_path() else { return };
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    for number in 0..10 {
        memory.append_turn(&turn(&conversation, &format!("request {number}"), "fine")).unwrap();
        memory.remember(&format!("fact {number} of {conversation}"), Scope::Global, "user").unwrap();
        memory.search("fact", 3).unwrap();
    }
    println!("\nDONE {conversation}");
}

#[test]
fn two_and_eight_kernels_at_once_lose_nothing() {
    for count in [2, 8] {
        let (_folder, path) = folder();
        let children: Vec<_> = (0..count).map(|_| helper("faults::helper_works_beside_others", &path)).collect();
        let mut conversations = Vec::new();
        for mut child in children {
            let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
            conversations.extend(lines.filter_map(|line| line.strip_prefix("DONE ").map(ConversationId::from)));
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(conversations.len(), count);
        let memory = Memory::open(&path, None).unwrap();
        assert_eq!(memory.mode(), Mode::Durable);
        for conversation in &conversations {
            let requests: Vec<String> =
                memory.turns(conversation, usize::MAX).unwrap().into_iter().map(|turn| turn.turn.request).collect();
            assert_eq!(requests, (0..10).map(|number| format!("request {number}")).collect::<Vec<_>>());
        }
        assert_eq!((memory.facts(None).unwrap().len(), memory.statistics().unwrap().pending_journals), (count * 10, 0));
    }
}

#[test]
fn a_kernel_whose_neighbour_ended_takes_the_file_over() {
    let (_folder, path) = folder();
    let holder = Memory::open(&path, None).unwrap();
    let other = Memory::open(&path, None).unwrap();
    let conversation = other.start_conversation("codriver", "b.ipynb").unwrap();
    other.append_turn(&turn(&conversation, "beside", "ok")).unwrap();
    let (earlier, session) = (
        holder.start_conversation("codriver", "a.ipynb").unwrap(),
        other.remember("here and now", Scope::Session, "user").unwrap(),
    );
    holder.append_turn(&turn(&earlier, "held", "ok")).unwrap();
    assert_eq!(other.turns(&earlier, 9).unwrap().len(), 0);
    drop(holder);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    other.facts(None).unwrap();
    assert_eq!(other.mode(), Mode::Durable);
    assert_eq!((other.turns(&earlier, 9).unwrap().len(), other.turns(&conversation, 9).unwrap().len()), (1, 1));
    assert!(other.fact(&session).unwrap().is_some());
    other.append_turn(&turn(&conversation, "after", "ok")).unwrap();
    drop(other);
    assert_eq!(Memory::open(&path, None).unwrap().turns(&conversation, 9).unwrap().len(), 2);
}

/// One byte changed, anywhere: everything is as it was, or the damage is named. Never a panic, never an empty memory.
#[test]
fn a_changed_byte_anywhere_is_harmless_or_named() {
    let (_folder, path) = folder();
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    for number in 0..30 {
        memory
            .append_turn(&turn(&conversation, &format!("request {number}"), &"an answer ".repeat(number * 20)))
            .unwrap();
    }
    let before = memory.turns(&conversation, usize::MAX).unwrap();
    drop(memory);
    let whole = fs::read(&path).unwrap();
    let seed = Uuid::new_v4().as_u128();
    let mut state = seed as u64 | 1;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut harmless, mut named) = (0, 0);
    for round in 0..60 {
        let mut bytes = whole.clone();
        // The headers are small: they are aimed at.
        let position = if round % 4 == 0 { random(12 * 1024) } else { random(bytes.len()) };
        // The first round changes nothing: then nothing may be said.
        bytes[position] ^= if round == 0 { 0 } else { 1 << random(8) };
        fs::write(&path, &bytes).unwrap();
        for file in ["duckdb.wal", "duckdb.suspect"] {
            fs::remove_file(path.with_extension(file)).unwrap_or_default();
        }
        let read = Memory::open(&path, None).and_then(|memory| {
            memory.verify()?;
            memory.turns(&conversation, usize::MAX)
        });
        match read {
            Ok(turns) => {
                assert_eq!(turns, before, "byte {position}, seed {seed}");
                harmless += 1;
            }
            Err(error) => {
                assert_ne!(round, 0, "{error}");
                assert!(error.to_string().contains(path.to_str().unwrap()), "byte {position}, seed {seed}: {error}");
                named += 1;
            }
        }
    }
    println!("{harmless} changes were harmless, {named} were named");
    assert!(harmless + named == 60);
}

/// A small file system of its own, full or read-only, where this system lets us make one.
fn on_a_small_disk(options: &str, script: &str, test: &str) -> Option<String> {
    let command = format!(
        "mount -t tmpfs -o {options} tmpfs /mnt && mkdir -p /mnt/codriver && {script} exec env CODRIVER_TEST_PATH=/mnt/codriver/memory.duckdb \"$0\" --exact {test} --nocapture"
    );
    let output = Command::new("unshare")
        .args(["-rm", "bash", "-c", &command])
        .arg(std::env::current_exe().unwrap())
        .output()
        .ok()?;
    let (said, errors) =
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned());
    if errors.contains("unshare failed")
        || errors.contains("permission denied")
        || errors.contains("Operation not permitted")
    {
        println!("no small disk here: {errors}");
        return None;
    }
    assert!(output.status.success(), "{said}\n{errors}");
    Some(said)
}

#[test]
fn helper_on_a_full_disk() {
    let Some(path) = helper_path() else { return };
    let memory = Memory::open(&path, None).unwrap();
    let conversation = memory.start_conversation("codriver", "a.ipynb").unwrap();
    let mut kept = 0;
    let error = loop {
        let mut turn = turn(&conversation, &format!("request {kept}"), "fine");
        turn.prompt = (0..4000).map(|_| Uuid::new_v4().to_string()).collect();
        match memory.append_turn(&turn) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("free some space") || error.to_string().contains("Free some space"), "{error}");
    assert!(memory.backup(&path.with_extension("copy")).is_err(), "there is no room for it");
    assert_eq!(memory.turns(&conversation, usize::MAX).unwrap().len(), kept);
    drop(memory);
    // Space is made, and everything acknowledged is there.
    fs::remove_file("/mnt/filler").unwrap();
    let memory = Memory::open(&path, None).unwrap();
    assert_eq!(memory.turns(&conversation, usize::MAX).unwrap().len(), kept);
    memory.append_turn(&turn(&conversation, "again", "fine")).unwrap();
    println!("\nKEPT {kept}");
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let filler = "head -c 16M /dev/zero > /mnt/filler &&";
    let Some(said) = on_a_small_disk("size=32m", filler, "faults::helper_on_a_full_disk") else { return };
    let kept: usize = said.lines().find_map(|line| line.strip_prefix("KEPT ")).unwrap().parse().unwrap();
    assert!(kept >= 10, "{said}");
}

#[test]
fn helper_on_a_read_only_disk() {
    let Some(path) = helper_path() else { return };
    let error = Memory::open(&path, None).err().unwrap();
    assert!(matches!(error, MemoryError::Unwritable { .. }), "{error:?}");
    assert!(
        error.to_string().contains("Read-only file system") && error.to_string().contains("Make the folder writable"),
        "{error}"
    );
}

#[test]
fn a_read_only_disk_is_named() {
    let script = "mount -o remount,ro /mnt &&";
    on_a_small_disk("size=8m", script, "faults::helper_on_a_read_only_disk");
}

/// The helper: a memory from before the disk became read-only.
#[test]
fn helper_keeps_a_fact() {
    let Some(path) = helper_path() else { return };
    Memory::open(&path, None).unwrap().remember("Amounts are in euro", Scope::Global, "user").unwrap();
}

/// A memory that is there already is not opened either, and is whole when the disk can be written again.
#[test]
fn a_memory_on_a_read_only_disk_is_left_as_it_is() {
    let script = "CODRIVER_TEST_PATH=/mnt/codriver/memory.duckdb \"$0\" --exact faults::helper_keeps_a_fact > /dev/null && mount -o remount,ro /mnt && \
        CODRIVER_TEST_PATH=/mnt/codriver/memory.duckdb \"$0\" --exact faults::helper_on_a_read_only_disk --nocapture && mount -o remount,rw /mnt &&";
    on_a_small_disk("size=32m", script, "faults::helper_finds_the_fact");
}

#[test]
fn helper_finds_the_fact() {
    let Some(path) = helper_path() else { return };
    let facts = Memory::open(&path, None).unwrap().facts(None).unwrap();
    assert_eq!(facts.iter().map(|fact| fact.text.as_str()).collect::<Vec<_>>(), ["Amounts are in euro"]);
}
