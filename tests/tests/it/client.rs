//! A Jupyter front end, as small as can be. Reads like the protocol.

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::runtime::Runtime;
use uuid::Uuid;
use zeromq::{DealerSocket, ReqSocket, Socket, SocketOptions, SocketRecv, SocketSend, SubSocket, ZmqMessage};

/// The longest wait for a message that must come. Rust cells compile, and may do so while
/// other tests do.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Client {
    runtime: Runtime,
    key: String,
    session: String,
    pub shell: DealerSocket,
    control: DealerSocket,
    stdin: DealerSocket,
    iopub: SubSocket,
    heartbeat: ReqSocket,
}

/// A message that came in.
#[derive(Debug, Clone)]
pub struct Message {
    pub kind: String,
    pub parent_id: String,
    pub content: Value,
}

#[derive(Debug, Clone, Copy)]
pub enum Channel {
    Shell,
    Control,
    Stdin,
    Iopub,
}

impl Client {
    /// Connects all channels and waits for the welcome on IOPub.
    pub fn connect(connection: &Value) -> Self {
        let runtime = Runtime::new().unwrap();
        let endpoint = |port: &str| format!("tcp://127.0.0.1:{}", connection[port]);
        let session = Uuid::new_v4().to_string();
        // Stdin's requests come to the identity that shell's request was sent with.
        let dealer = || {
            let mut options = SocketOptions::default();
            options.peer_identity(session.parse().unwrap());
            DealerSocket::with_options(options)
        };
        let (mut shell, mut control, mut stdin) = (dealer(), dealer(), dealer());
        let (mut iopub, mut heartbeat) = (SubSocket::new(), ReqSocket::new());
        runtime.block_on(async {
            shell.connect(&endpoint("shell_port")).await.unwrap();
            control.connect(&endpoint("control_port")).await.unwrap();
            stdin.connect(&endpoint("stdin_port")).await.unwrap();
            heartbeat.connect(&endpoint("hb_port")).await.unwrap();
            iopub.connect(&endpoint("iopub_port")).await.unwrap();
            iopub.subscribe("").await.unwrap();
        });
        let key = connection["key"].as_str().unwrap().to_owned();
        let mut client = Self { runtime, key, session, shell, control, stdin, iopub, heartbeat };
        let welcome = client.recv_any(Channel::Iopub, PATIENCE).expect("no welcome");
        assert_eq!((welcome.kind.as_str(), &welcome.content["subscription"]), ("iopub_welcome", &json!("")));
        client
    }

    pub fn heartbeat(&mut self, payload: &str) -> Vec<u8> {
        let heartbeat = &mut self.heartbeat;
        let answer = self.runtime.block_on(async {
            heartbeat.send(ZmqMessage::from(payload)).await.unwrap();
            tokio::time::timeout(PATIENCE, heartbeat.recv()).await.expect("no heartbeat").unwrap()
        });
        answer.into_vec().concat()
    }

    /// Sends a signed message and returns its id.
    pub fn send(&mut self, channel: Channel, kind: &str, content: Value) -> String {
        let (id, frames) = self.frames(kind, &content, &self.key.clone());
        self.send_frames(channel, frames);
        id
    }

    /// The frames of a message, signed with `key`.
    pub fn frames(&self, kind: &str, content: &Value, key: &str) -> (String, Vec<Bytes>) {
        let id = Uuid::new_v4().to_string();
        let header = json!({
            "msg_id": id, "session": self.session, "username": "tests", "date": "2026-01-01T00:00:00Z",
            "msg_type": kind, "version": "5.4",
        });
        let parts = [header.to_string(), "{}".to_owned(), "{}".to_owned(), content.to_string()];
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        parts.iter().for_each(|part| mac.update(part.as_bytes()));
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut frames = vec![Bytes::from("<IDS|MSG>"), Bytes::from(signature)];
        frames.extend(parts.into_iter().map(Bytes::from));
        (id, frames)
    }

    pub fn send_frames(&mut self, channel: Channel, frames: Vec<Bytes>) {
        let message = ZmqMessage::try_from(frames).unwrap();
        let socket = match channel {
            Channel::Shell => &mut self.shell,
            Channel::Control => &mut self.control,
            Channel::Stdin => &mut self.stdin,
            Channel::Iopub => panic!("nobody sends on IOPub"),
        };
        self.runtime.block_on(socket.send(message)).unwrap();
    }

    pub fn recv(&mut self, channel: Channel) -> Message {
        self.recv_within(channel, PATIENCE).unwrap_or_else(|| panic!("nothing came on {channel:?}"))
    }

    /// The next message, checked to be signed rightly, if one comes in time. Welcomes that
    /// another client's subscription caused are not for us.
    pub fn recv_within(&mut self, channel: Channel, patience: Duration) -> Option<Message> {
        loop {
            let message = self.recv_any(channel, patience)?;
            if message.kind != "iopub_welcome" {
                return Some(message);
            }
        }
    }

    fn recv_any(&mut self, channel: Channel, patience: Duration) -> Option<Message> {
        let frames = self.runtime.block_on(async {
            let next: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = match channel {
                Channel::Shell => self.shell.recv(),
                Channel::Control => self.control.recv(),
                Channel::Stdin => self.stdin.recv(),
                Channel::Iopub => self.iopub.recv(),
            };
            Some(tokio::time::timeout(patience, next).await.ok()?.unwrap().into_vec())
        })?;
        let at = frames.iter().position(|frame| &frame[..] == b"<IDS|MSG>").expect("a delimiter");
        let parts = &frames[at + 2..at + 6];
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_bytes()).unwrap();
        parts.iter().for_each(|part| mac.update(part));
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(frames[at + 1], signature, "the kernel signs what it sends");
        let json = |index: usize| serde_json::from_slice::<Value>(&parts[index]).unwrap();
        Some(Message {
            kind: json(0)["msg_type"].as_str().unwrap().to_owned(),
            parent_id: json(1)["msg_id"].as_str().unwrap_or_default().to_owned(),
            content: json(3),
        })
    }
}

/// The protocol, a method a message.
impl Client {
    pub fn send_execute_request(&mut self, code: &str) -> String {
        self.send_execute_request_with(code, json!({}))
    }

    pub fn send_execute_request_with(&mut self, code: &str, fields: Value) -> String {
        let mut content = json!({ "code": code });
        content.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.send(Channel::Shell, "execute_request", content)
    }

    pub fn recv_shell(&mut self, kind: &str) -> Message {
        let message = self.recv(Channel::Shell);
        assert_eq!(message.kind, kind, "{message:?}");
        message
    }

    pub fn recv_shell_execute_reply(&mut self) -> Message {
        self.recv_shell("execute_reply")
    }

    pub fn recv_iopub(&mut self, kind: &str) -> Message {
        let message = self.recv(Channel::Iopub);
        assert_eq!(message.kind, kind, "{message:?}");
        message
    }

    pub fn recv_iopub_busy(&mut self) -> Message {
        self.recv_iopub_status("busy")
    }

    pub fn recv_iopub_idle(&mut self) -> Message {
        self.recv_iopub_status("idle")
    }

    fn recv_iopub_status(&mut self, state: &str) -> Message {
        let message = self.recv_iopub("status");
        assert_eq!(message.content["execution_state"], state);
        message
    }

    /// Runs a cell to its end: its reply, and what it published between busy and idle.
    pub fn execute(&mut self, code: &str) -> Executed {
        self.execute_with(code, json!({}))
    }

    pub fn execute_with(&mut self, code: &str, fields: Value) -> Executed {
        let id = self.send_execute_request_with(code, fields);
        self.finish(&id)
    }

    /// Reads everything that belongs to a request that was sent.
    pub fn finish(&mut self, id: &str) -> Executed {
        let busy = self.recv_iopub_busy();
        assert_eq!(busy.parent_id, id);
        let mut outputs = Vec::new();
        loop {
            let message = self.recv(Channel::Iopub);
            assert_eq!(message.parent_id, id, "a foreign parent: {message:?}");
            if message.kind == "status" {
                assert_eq!(message.content["execution_state"], "idle");
                break;
            }
            outputs.push(message);
        }
        let reply = self.recv_shell_execute_reply();
        assert_eq!(reply.parent_id, id);
        Executed { reply: reply.content, outputs }
    }

    /// A request and its reply; the statuses around it are read too.
    pub fn request(&mut self, kind: &str, content: Value) -> Value {
        let id = self.send(Channel::Shell, &format!("{kind}_request"), content);
        assert_eq!(self.recv_iopub_busy().parent_id, id);
        let reply = self.recv_shell(&format!("{kind}_reply"));
        assert_eq!(reply.parent_id, id);
        assert_eq!(self.recv_iopub_idle().parent_id, id);
        reply.content
    }
}

/// A cell that has run.
#[derive(Debug)]
pub struct Executed {
    pub reply: Value,
    pub outputs: Vec<Message>,
}

impl Executed {
    pub fn status(&self) -> &str {
        self.reply["status"].as_str().unwrap()
    }

    /// All text of a stream.
    pub fn stream(&self, name: &str) -> String {
        self.of_kind("stream")
            .filter(|content| content["name"] == name)
            .filter_map(|content| content["text"].as_str())
            .collect()
    }

    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.outputs.iter().filter(move |message| message.kind == kind).map(|message| &message.content)
    }

    /// The plain text of the execute_result.
    pub fn result(&self) -> &str {
        let results: Vec<_> = self.of_kind("execute_result").collect();
        assert_eq!(results.len(), 1, "{self:#?}");
        results[0]["data"]["text/plain"].as_str().unwrap()
    }

    pub fn kinds(&self) -> Vec<&str> {
        self.outputs.iter().map(|message| message.kind.as_str()).collect()
    }

    /// The error's name, when the cell failed as it should: one error output, like the reply.
    pub fn error_name(&self) -> &str {
        let errors: Vec<_> = self.of_kind("error").collect();
        assert_eq!((self.status(), errors.len()), ("error", 1), "{self:#?}");
        assert_eq!(errors[0]["ename"], self.reply["ename"]);
        self.reply["ename"].as_str().unwrap()
    }
}
