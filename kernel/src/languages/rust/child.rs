//! The process that user code runs in: its output goes to the kernel byte by byte, and
//! only evcxr's own lines go where evcxr reads them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Said on stdout before a cell's code runs.
const RUN: &[u8] = b"\x1b]codriver;run;0\x07";

/// Reconnects stdin, stdout and stderr. Called before evcxr's runtime takes over.
pub fn attach(socket: &OsStr) -> std::io::Result<()> {
    let control = connect(socket, "control")?;
    let stdout = connect(socket, "stdout")?;
    let stderr = connect(socket, "stderr")?;
    let to_evcxr = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let from_evcxr = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let (commands, forward) = std::io::pipe()?;
    dup2_stdin(&commands)?;
    dup2_stdout(&stdout)?;
    dup2_stderr(&stderr)?;
    std::thread::spawn(move || end_with(forward_commands(from_evcxr, forward, stdout)));
    std::thread::spawn(move || end_with(forward_lines(control, to_evcxr)));
    Ok(())
}

fn connect(socket: &OsStr, role: &str) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("child {} {role}\n", std::process::id()).as_bytes())?;
    Ok(stream)
}

/// Passes evcxr's commands on, telling the kernel when one of them runs code.
fn forward_commands(from: File, mut to: impl Write, mut stdout: UnixStream) -> std::io::Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        if line.starts_with(b"LOAD_AND_RUN ") {
            stdout.write_all(RUN)?;
        }
        to.write_all(&line)?;
        line.clear();
    }
    Ok(())
}

/// Passes on the lines that the kernel found among the output and that evcxr waits for.
fn forward_lines(mut from: UnixStream, mut to: File) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

/// Without the kernel or evcxr there is nobody to run for.
fn end_with(result: std::io::Result<()>) {
    std::process::exit(i32::from(result.is_err()));
}
