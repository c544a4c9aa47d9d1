//! Documents that agents can find things in: what `%knowledge` and `codriver knowledge` do.

mod commits;
mod display;
mod fetch;
mod pdf;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use codriver_memory::Scope;
use codriver_memory::ingest::{self, Fetched, IngestError, Progress, Report, Request, Surroundings};

use crate::session::{Interrupt, MimeBundle, Session};
use commits::Commits;

pub use display::{IngestDisplay, progress_text};
pub use pdf::{COMMAND as READ_PDF, read as read_pdf};

/// What can be done with knowledge, in a notebook and in the terminal.
#[derive(Debug, Clone, Subcommand)]
pub enum KnowledgeCommand {
    /// Read files or a page; what is known and unchanged is not read again
    Add(AddArguments),
    /// Show what there is: pieces, size, when it was read, at which commit, whether it changed since
    List {
        /// Only what this path, pattern or address names
        #[arg(value_name = "ORIGIN")]
        origin: Option<String>,
        /// A row for each file, however many
        #[arg(long)]
        files: bool,
    },
    /// Read what is new or changed, and forget what is gone
    Refresh {
        /// Only what this path, pattern or address names
        #[arg(value_name = "ORIGIN")]
        origin: Option<String>,
        #[command(flatten)]
        network: Network,
    },
    /// Forget documents; the files stay
    Remove {
        /// The path, pattern or address of what to forget
        #[arg(value_name = "ORIGIN")]
        origin: String,
    },
    /// Show how a document was cut
    Show {
        /// A document of the list
        #[arg(value_name = "ORIGIN")]
        origin: String,
    },
}

#[derive(Debug, Clone, Args)]
pub struct AddArguments {
    /// A file, a folder, a pattern ('docs/**/*.md') or an http address
    #[arg(value_name = "PATH|PATTERN|URL")]
    pub source: String,
    /// Who finds it: this session, this project's notebooks, or all of yours
    #[arg(long, value_enum, default_value = "project")]
    scope: ScopeName,
    /// A name to search within
    #[arg(long, value_name = "NAME", default_value = "")]
    collection: String,
    #[command(flatten)]
    network: Network,
}

#[derive(Debug, Clone, Copy, Args)]
pub struct Network {
    /// Fetch from this machine and its network too
    #[arg(long)]
    allow_private: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeName {
    Session,
    Project,
    Global,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Session => Self::Session,
            ScopeName::Project => Self::Project,
            ScopeName::Global => Self::Global,
        }
    }
}

/// What a command gave.
pub enum Outcome {
    Shown(MimeBundle),
    Read(Report),
}

impl Outcome {
    pub fn bundle(&self) -> MimeBundle {
        match self {
            Self::Shown(bundle) => bundle.clone(),
            Self::Read(report) => display::report_bundle(report),
        }
    }
}

/// Does what was asked; `watch` is told now and then how far reading is.
pub fn run(
    command: &KnowledgeCommand,
    session: &Session,
    interrupt: &Interrupt,
    watch: &mut dyn FnMut(&Progress),
) -> Result<Outcome, IngestError> {
    let (memory, workspace) = (&session.memory, session.workspace.as_path());
    let bundle = match command {
        KnowledgeCommand::Add(AddArguments { source, scope, collection, network }) => {
            let request = Request { source: source.clone(), scope: (*scope).into(), collection: collection.clone() };
            let workplace = Workplace::new(session, interrupt, *network);
            get_ready(session, interrupt, watch);
            let mut report = ingest::add(memory, &request, &workplace, watch)?;
            embed(&mut report, session, &workplace, watch)?;
            return Ok(Outcome::Read(report));
        }
        KnowledgeCommand::Refresh { origin, network } => {
            let workplace = Workplace::new(session, interrupt, *network);
            get_ready(session, interrupt, watch);
            let mut report = ingest::refresh(memory, origin.as_deref(), &workplace, watch)?;
            embed(&mut report, session, &workplace, watch)?;
            return Ok(Outcome::Read(report));
        }
        KnowledgeCommand::List { origin, files } => {
            let documents = match origin {
                Some(origin) => ingest::select(memory, origin, workspace)?,
                None => memory.documents(None)?,
            };
            if documents.is_empty() {
                MimeBundle::plain("nothing was taken in yet; %knowledge add PATH does")
            } else {
                display::document_table(&documents, workspace, *files)
            }
        }
        KnowledgeCommand::Remove { origin } => {
            let removed = ingest::remove(memory, origin, workspace)?;
            MimeBundle::plain(if removed == 1 {
                "1 document is forgotten".to_owned()
            } else {
                format!("{removed} documents are forgotten")
            })
        }
        KnowledgeCommand::Show { origin } => {
            let documents = ingest::select(memory, origin, workspace)?;
            match documents.as_slice() {
                [document] => display::piece_table(&memory.chunks_of(document.scope, &document.origin)?),
                several => display::document_table(several, workspace, false),
            }
        }
    };
    Ok(Outcome::Shown(bundle))
}

/// The embedding model is there before there is something to embed, so that people see how far it is with it.
fn get_ready(session: &Session, interrupt: &Interrupt, watch: &mut dyn FnMut(&Progress)) {
    watch(&Progress { current: "waiting for the embedding model".to_owned(), ..Progress::default() });
    session.agents.embedder.wait_anyway(&session.memory, interrupt);
}

/// The pieces are found by their words already; now by their meaning, too, where there is a model for it.
fn embed(
    report: &mut Report,
    session: &Session,
    workplace: &Workplace,
    watch: &mut dyn FnMut(&Progress),
) -> Result<(), IngestError> {
    if !report.interrupted {
        ingest::embed(&session.memory, workplace, report, watch)?;
    }
    Ok(())
}

/// The files, repositories and network around a request.
struct Workplace {
    workspace: PathBuf,
    interrupt: Interrupt,
    network: Network,
    commits: Commits,
}

impl Workplace {
    fn new(session: &Session, interrupt: &Interrupt, network: Network) -> Self {
        Self {
            workspace: session.workspace.clone(),
            interrupt: interrupt.clone(),
            network,
            commits: Commits::default(),
        }
    }
}

impl Surroundings for Workplace {
    fn workspace(&self) -> &Path {
        &self.workspace
    }

    fn is_cancelled(&self) -> bool {
        self.interrupt.is_set()
    }

    fn is_secret(&self, path: &Path) -> bool {
        codriver_tools::files::looks_secret(path)
    }

    fn commit(&self, path: &Path, contents: &[u8]) -> Option<String> {
        self.commits.of(path, contents)
    }

    fn pdf_pages(&self, contents: &[u8]) -> Result<Vec<String>, String> {
        pdf::pages(contents, &self.interrupt)
    }

    fn fetch(&self, url: &str) -> Result<Fetched, String> {
        fetch::fetch(url, self.network.allow_private, &self.interrupt)
    }
}
