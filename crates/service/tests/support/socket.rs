//! A WebSocket client of a few lines, and the messages of the stream.

use super::Service;
use bursa_core::id::{EndpointId, FunctionId, GroupId, TaskId};
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// An open stream.
pub struct Socket(TcpStream);

/// What the service says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Said {
    Welcome {
        cursor: u64,
    },
    Accepted {
        id: u64,
    },
    Error {
        id: Option<u64>,
        error: serde_json::Value,
    },
    Results {
        cursor: u64,
        tasks: serde_bytes::ByteBuf,
        states: serde_bytes::ByteBuf,
        payloads: Vec<serde_bytes::ByteBuf>,
        failures: BTreeMap<u32, serde_json::Value>,
        outputs: BTreeMap<u32, serde_bytes::ByteBuf>,
        memo: Option<serde_bytes::ByteBuf>,
    },
}

#[derive(Serialize)]
struct Subscribe<'a> {
    r#type: &'a str,
    groups: &'a [GroupId],
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<u64>,
}

#[derive(Serialize)]
struct Submit<'a> {
    r#type: &'a str,
    id: u64,
    group: GroupId,
    calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    function: FunctionId,
    endpoint: EndpointId,
    tasks: serde_bytes::ByteBuf,
    args: Vec<&'a serde_bytes::Bytes>,
}

impl Socket {
    pub fn open(service: &Service) -> Self {
        Self::open_as(service, &service.token)
    }

    pub fn open_as(service: &Service, token: &str) -> Self {
        let mut stream = TcpStream::connect(service.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let head = format!(
            "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    /// One frame with an all-zero mask.
    pub fn send(&mut self, kind: u8, data: &[u8]) {
        let mut frame = vec![0x80 | kind];
        match data.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend_from_slice(data);
        self.0.write_all(&frame).unwrap();
    }

    /// The next frame's kind and data.
    pub fn frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        let len = match head[1] {
            126 => {
                let mut len = [0; 2];
                self.0.read_exact(&mut len)?;
                u64::from(u16::from_be_bytes(len))
            }
            127 => {
                let mut len = [0; 8];
                self.0.read_exact(&mut len)?;
                u64::from_be_bytes(len)
            }
            len => u64::from(len),
        };
        let mut data = vec![0; len as usize];
        self.0.read_exact(&mut data)?;
        Ok((head[0] & 0x0f, data))
    }

    pub fn say<T: Serialize>(&mut self, message: &T) {
        self.send(2, &rmp_serde::to_vec_named(message).unwrap());
    }

    pub fn hear(&mut self) -> Said {
        loop {
            let (kind, data) = self.frame().unwrap();
            match kind {
                2 => return rmp_serde::from_slice(&data).unwrap(),
                9 => self.send(10, &data),
                other => panic!("frame {other}"),
            }
        }
    }

    pub fn welcome(&mut self) -> u64 {
        match self.hear() {
            Said::Welcome { cursor } => cursor,
            other => panic!("{other:?}"),
        }
    }

    pub fn subscribe(&mut self, groups: &[GroupId], cursor: Option<u64>) {
        self.say(&Subscribe { r#type: "subscribe", groups, cursor });
    }

    pub fn submit(&mut self, id: u64, group: GroupId, to: (&str, &str), tasks: &[(TaskId, &[u8])]) {
        let call = Call {
            function: to.0.parse().unwrap(),
            endpoint: to.1.parse().unwrap(),
            tasks: tasks.iter().flat_map(|(task, _)| *task.as_bytes()).collect::<Vec<u8>>().into(),
            args: tasks.iter().map(|(_, args)| serde_bytes::Bytes::new(args)).collect(),
        };
        self.say(&Submit { r#type: "submit", id, group, calls: vec![call] });
    }

    /// Reads until `count` results came: task, state, payload; and the last cursor.
    pub fn results(&mut self, count: usize) -> (Vec<(TaskId, u8, Vec<u8>)>, u64) {
        let (mut all, mut last) = (Vec::new(), 0);
        while all.len() < count {
            match self.hear() {
                Said::Results { cursor, tasks, states, payloads, .. } => {
                    assert!(cursor > last, "the cursor rises");
                    last = cursor;
                    for ((task, state), payload) in
                        tasks.as_chunks::<16>().0.iter().zip(&*states).zip(payloads)
                    {
                        all.push((TaskId::from_bytes(*task), *state, payload.into_vec()));
                    }
                }
                Said::Accepted { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        (all, last)
    }

    /// Waits a little and makes sure that no message came.
    pub fn silent(&mut self) {
        self.0.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let frame = self.frame();
        assert!(frame.is_err(), "{frame:?}");
        self.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    }
}
