//! What is at an address, fetched with care: bounded in size, time and redirects, and not from the machine's own network
//! unless that is asked for (a page could otherwise point at what only this machine can reach).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use codriver_memory::ingest::Fetched;
use reqwest::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use crate::session::Interrupt;

const MOST_BYTES: usize = 64 << 20;
const MOST_REDIRECTS: usize = 5;
const TO_CONNECT: Duration = Duration::from_secs(10);
const TO_ANSWER: Duration = Duration::from_secs(60);

/// Text is better than what it is rendered to.
const WANTED: &str =
    "text/markdown, text/html;q=0.9, application/xhtml+xml;q=0.9, text/*;q=0.8, application/pdf;q=0.7, */*;q=0.5";

/// The contents at an http or https address. With `allow_private`, also of this machine and its network.
pub(super) fn fetch(address: &str, allow_private: bool, interrupt: &Interrupt) -> Result<Fetched, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        tokio::select! {
            fetched = follow(address, allow_private) => fetched,
            () = interrupted(interrupt) => Err("interrupted".to_owned()),
        }
    })
}

async fn interrupted(interrupt: &Interrupt) {
    while !interrupt.is_set() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn follow(address: &str, allow_private: bool) -> Result<Fetched, String> {
    let mut url = Url::parse(address).map_err(|error| format!("it is not an address: {error}"))?;
    for _ in 0..=MOST_REDIRECTS {
        let response = get(&url, allow_private).await?;
        if !response.status().is_redirection() {
            return contents(response).await;
        }
        let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let location =
            location.ok_or_else(|| format!("the server answered {} without saying where to go", response.status()))?;
        url = url
            .join(location)
            .map_err(|error| format!("it leads to {location:?}, which is not an address: {error}"))?;
    }
    Err(format!("it leads from one address to the next, more than {MOST_REDIRECTS} times"))
}

/// One answer, redirects not followed: each address is checked before anyone connects to it.
async fn get(url: &Url, allow_private: bool) -> Result<Response, String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("it leads to {}, and only http and https are fetched", url.scheme()));
    }
    if url.password().is_some() || !url.username().is_empty() {
        return Err("it has a password in it, which would be kept with the document; leave it out".to_owned());
    }
    let host = url.host_str().ok_or("it names no server")?;
    let mut client = Client::builder()
        .redirect(Policy::none())
        .user_agent(concat!("codriver/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(TO_CONNECT)
        .timeout(TO_ANSWER);
    if !allow_private {
        // The client connects to what was checked, and does not ask for the name again.
        let addresses = public_addresses(host, url.port_or_known_default().unwrap_or(80)).await?;
        if !addresses.is_empty() {
            client = client.resolve_to_addrs(host, &addresses);
        }
    }
    let client = client.build().map_err(|error| explained(&error))?;
    let response = client.get(url.clone()).header(ACCEPT, WANTED).send().await.map_err(|error| explained(&error))?;
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        Ok(response)
    } else {
        Err(format!("the server answered {status}"))
    }
}

async fn contents(mut response: Response) -> Result<Fetched, String> {
    let too_large = || format!("it is larger than {} MB", MOST_BYTES >> 20);
    if response.content_length().is_some_and(|length| length > MOST_BYTES as u64) {
        return Err(too_large());
    }
    let content_type =
        response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let mut contents = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| explained(&error))? {
        if contents.len() + piece.len() > MOST_BYTES {
            return Err(too_large());
        }
        contents.extend_from_slice(&piece);
    }
    Ok(Fetched { contents, content_type })
}

/// What a server's name stands for. Empty where only a proxy knows: it connects in our stead.
async fn public_addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<SocketAddr> = match tokio::net::lookup_host((bare, port)).await {
        Ok(addresses) => addresses.collect(),
        Err(_) if has_proxy() => return Ok(Vec::new()),
        Err(error) => return Err(format!("{host} is not known here: {error}")),
    };
    match addresses.iter().find(|address| !is_public(address.ip())) {
        Some(private) => Err(format!(
            "{host} is {}, an address of this machine or its network; --allow-private fetches from there",
            private.ip()
        )),
        None => Ok(addresses),
    }
}

fn has_proxy() -> bool {
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}

/// An address of the internet at large (IANA's special-purpose registries, RFC 6890 and what followed).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = a == 192 && b == 0 && c == 0;
    let measured = a == 198 && (18..20).contains(&b);
    let special = a == 0 || a >= 224 || shared || protocols || measured;
    !(special || address.is_private() || address.is_loopback() || address.is_link_local() || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    // Addresses that carry one of the older kind: mapped, translated (RFC 6052), 6to4.
    let [.., high, low] = parts;
    let embedded = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match parts {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => return is_public_v4(embedded(high, low)),
        [0x2002, high, low, ..] => return is_public_v4(embedded(high, low)),
        _ => {}
    }
    // What is assigned is 2000::/3; of that, 2001:db8::/32 is for examples.
    parts[0] & 0xe000 == 0x2000 && !(parts[0] == 0x2001 && parts[1] == 0x0db8)
}

/// The error and what it comes of, without the address, which is said beside it.
fn explained(error: &reqwest::Error) -> String {
    let mut reasons = Vec::new();
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(inner) = source {
        reasons.push(inner.to_string());
        source = inner.source();
    }
    let what = if error.is_timeout() { "the server takes too long" } else { "the server cannot be reached" };
    reasons.last().map_or_else(|| what.to_owned(), |reason| format!("{what}: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::is_public;

    #[test]
    fn only_the_internet_at_large_is_public() {
        let public = [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::101:101",
        ];
        let private = [
            "127.0.0.1",
            "127.8.9.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "2001:db8::1",
            "::7f00:1",
        ];
        for (addresses, expected) in [(public.as_slice(), true), (private.as_slice(), false)] {
            for address in addresses {
                assert_eq!(is_public(address.parse::<IpAddr>().unwrap()), expected, "{address}");
            }
        }
    }
}
