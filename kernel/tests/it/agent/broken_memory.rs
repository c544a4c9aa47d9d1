//! A notebook whose memory cannot be opened: it works, says why, and changes nothing.

use codriver::session::{Session, SessionOptions};
use codriver_memory::{Memory, Mode, Scope};

use super::helpers::{Desk, says};
use super::server::Server;

#[test]
fn a_notebook_works_without_the_memory_it_cannot_open() {
    let newer = |path: &std::path::Path| {
        let connection = duckdb::Connection::open(path).unwrap();
        connection
            .execute_batch("INSERT INTO schema_versions VALUES (99, 'from the future', now()::TIMESTAMP)")
            .unwrap();
    };
    let garbage = |path: &std::path::Path| fs_err::write(path, "not a database".repeat(2000)).unwrap();
    for (damage, says_why) in
        [(&newer as &dyn Fn(&std::path::Path), "newer Codriver"), (&garbage, "cannot be read as Codriver's memory")]
    {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("memory.duckdb");
        Memory::open(&path, None).unwrap().remember("Amounts are in euro", Scope::Global, "user").unwrap();
        damage(&path);
        let before = fs_err::read(&path).unwrap();
        let server = Server::start([says("Hello.")]);
        let mut desk = Desk::new();
        let options =
            SessionOptions { workspace: desk.workspace.path().to_owned(), data_folder: Some(data.path().to_owned()) };
        desk.session = Session::without_rust(&options).unwrap();
        desk.session.agents.learner.set(codriver::agent::facts::Learning::Rules);
        assert_eq!(desk.session.memory.mode(), Mode::InMemory);
        assert_eq!(desk.ask(&server, "Hello?").unwrap().answer, "Hello.");
        let stats = desk.cell("%memory stats").unwrap().result.unwrap();
        assert!(stats.text().contains("in memory only"), "{}", stats.text());
        let said = format!("{:?}", desk.person.events.lock().unwrap());
        assert!(said.contains("memory lasts for this session only") && said.contains(says_why), "{said}");
        drop(desk);
        assert_eq!(fs_err::read(&path).unwrap(), before, "it is left as it was");
    }
}
