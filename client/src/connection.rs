//! Finding the daemon, proving who calls, and one typed client for each service.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use seedbank_proto::v1;
use seedbank_proto::v1::boost_service_client::BoostServiceClient;
use seedbank_proto::v1::network_service_client::NetworkServiceClient;
use seedbank_proto::v1::node_service_client::NodeServiceClient;
use seedbank_proto::v1::policy_service_client::PolicyServiceClient;
use seedbank_proto::v1::torrent_service_client::TorrentServiceClient;
use seedbank_proto::v1::wallet_service_client::WalletServiceClient;
use tokio::time::{Instant, sleep};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::health_client::HealthClient;

use crate::error::ClientError;

/// Largest message either way: metainfo of large torrents.
const MESSAGE_LEN_MAX: usize = 32 << 20;
/// Items asked for at once when all of a list is wanted.
const PAGE_SIZE: i32 = 1_000;
/// Pages read at most: a million torrents.
const PAGES_MAX: u32 = 1_000;
/// Hex digits of an info hash.
const INFO_HASH_DIGITS: usize = 40;
/// Torrents that are named when an id fits several.
const AMBIGUOUS_SHOWN: usize = 5;
/// Between two attempts while waiting for a daemon to come up.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Where the daemon's API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiAddress {
    /// A unix socket: no token needed.
    Unix(PathBuf),
    /// `http://host:port`: needs a token.
    Tcp(String),
}

/// How to call.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where.
    pub address: ApiAddress,
    /// Bearer token, for TCP.
    pub token: Option<String>,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// How long to wait for the daemon to come up; `None` fails at once.
    pub wait: Option<Duration>,
}

/// What every call goes through.
pub type Api = InterceptedService<Channel, Caller>;

/// One connection, and a client for each service.
#[derive(Clone, Debug)]
pub struct Client {
    /// `NodeService`.
    pub node: NodeServiceClient<Api>,
    /// `TorrentService`.
    pub torrents: TorrentServiceClient<Api>,
    /// `WalletService`.
    pub wallet: WalletServiceClient<Api>,
    /// `BoostService`.
    pub boosts: BoostServiceClient<Api>,
    /// `PolicyService`.
    pub policy: PolicyServiceClient<Api>,
    /// `NetworkService`.
    pub network: NetworkServiceClient<Api>,
    /// grpc.health.v1.
    pub health: HealthClient<Api>,
}

impl Client {
    /// Connects, and waits for the daemon to come up if asked to.
    pub async fn connect(options: &Options) -> Result<Self, ClientError> {
        let caller = Caller::new(options)?;
        let endpoint = options.address.endpoint()?;
        let deadline = options.wait.map(|wait| Instant::now() + wait);
        let channel = loop {
            let reason = match tokio::time::timeout(options.timeout, endpoint.connect()).await {
                Ok(Ok(channel)) => break channel,
                Ok(Err(error)) => innermost(&error),
                Err(_) => "no answer".to_owned(),
            };
            match deadline {
                Some(deadline) if Instant::now() < deadline => sleep(RETRY_DELAY).await,
                Some(_) => {
                    let address = &options.address;
                    return Err(ClientError::TimedOut(format!("waiting for {address}")));
                }
                None => {
                    return Err(ClientError::Unreachable {
                        address: options.address.to_string(),
                        reason,
                    });
                }
            }
        };
        Ok(Self::over(InterceptedService::new(channel, caller)))
    }

    /// Every torrent, by info hash.
    pub async fn list_torrents(&mut self) -> Result<Vec<v1::Torrent>, ClientError> {
        let mut torrents = Vec::new();
        let mut page_token = String::new();
        for _ in 0..PAGES_MAX {
            let request = v1::ListTorrentsRequest {
                page_size: PAGE_SIZE,
                page_token,
                states: Vec::new(),
            };
            let page = self.torrents.list_torrents(request).await?.into_inner();
            torrents.extend(page.torrents);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(torrents)
    }

    /// The torrents that a user means, each once and in the order given; see [`Self::resolve`].
    pub async fn resolve_all(&mut self, ids: &[String]) -> Result<Vec<v1::Torrent>, ClientError> {
        let torrents = self.list_torrents().await?;
        let mut found: Vec<v1::Torrent> = Vec::new();
        for id in ids {
            let torrent = pick(&torrents, id)?;
            if found.iter().all(|one| one.info_hash != torrent.info_hash) {
                found.push(torrent.clone());
            }
        }
        Ok(found)
    }

    /// The info hash that a user means: a whole one, a torrent's name or a prefix of an info hash
    /// if only one torrent has either, or a unique beginning of a name in whatever case.
    pub async fn resolve(&mut self, id: &str) -> Result<String, ClientError> {
        let is_hex = id.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_hex && id.len() == INFO_HASH_DIGITS {
            return Ok(id.to_ascii_lowercase());
        }
        let torrents = self.list_torrents().await?;
        Ok(pick(&torrents, id)?.info_hash.clone())
    }

    fn over(api: Api) -> Self {
        Self {
            node: NodeServiceClient::new(api.clone()).max_decoding_message_size(MESSAGE_LEN_MAX),
            torrents: TorrentServiceClient::new(api.clone())
                .max_decoding_message_size(MESSAGE_LEN_MAX)
                .max_encoding_message_size(MESSAGE_LEN_MAX),
            wallet: WalletServiceClient::new(api.clone())
                .max_decoding_message_size(MESSAGE_LEN_MAX),
            boosts: BoostServiceClient::new(api.clone()),
            policy: PolicyServiceClient::new(api.clone()),
            network: NetworkServiceClient::new(api.clone()),
            health: HealthClient::new(api),
        }
    }
}

/// The user's own socket of a daemon with default settings: `seedbank/api.sock` in the runtime
/// folder, or without one in the data folder.
pub fn default_socket(runtime_dir: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    match (runtime_dir, home) {
        (Some(runtime_dir), _) => Some(runtime_dir.join("seedbank/api.sock")),
        (None, Some(home)) => Some(home.join(".local/share/seedbank/api.sock")),
        (None, None) => None,
    }
}

impl ApiAddress {
    fn endpoint(&self) -> Result<Endpoint, ClientError> {
        let uri = match self {
            Self::Unix(path) => format!("unix:{}", path.display()),
            Self::Tcp(uri) => uri.clone(),
        };
        Endpoint::from_shared(uri)
            .map_err(|error| ClientError::Usage(format!("{self} is no address: {error}")))
    }
}

impl FromStr for ApiAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text
            .strip_prefix("unix://")
            .or_else(|| text.strip_prefix("unix:"))
            .or_else(|| text.starts_with('/').then_some(text));
        match path {
            Some("") => Err("unix: needs a path".to_owned()),
            Some(path) => Ok(Self::Unix(PathBuf::from(path))),
            None if text.starts_with("http://") => Ok(Self::Tcp(text.to_owned())),
            None if text.contains("://") => Err(format!(
                "{text:?} is no address: write unix:PATH or http://HOST:PORT"
            )),
            None if text.contains(':') => Ok(Self::Tcp(format!("http://{text}"))),
            None => Err(format!(
                "{text:?} is no address: write unix:PATH or HOST:PORT"
            )),
        }
    }
}

impl fmt::Display for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(uri) => f.write_str(uri),
        }
    }
}

/// Puts the token and the deadline on every call.
#[derive(Clone)]
pub struct Caller {
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Caller {
    fn new(options: &Options) -> Result<Self, ClientError> {
        let authorization = options
            .token
            .as_ref()
            .map(|token| format!("Bearer {token}").parse())
            .transpose()
            .map_err(|_| ClientError::Usage("the token file holds no token".to_owned()))?;
        Ok(Self {
            authorization,
            timeout: options.timeout,
        })
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({:?})", self.timeout)
    }
}

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.set_timeout(self.timeout);
        if let Some(authorization) = &self.authorization {
            request
                .metadata_mut()
                .insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

fn pick<'a>(torrents: &'a [v1::Torrent], id: &str) -> Result<&'a v1::Torrent, ClientError> {
    if id.is_empty() {
        return Err(ClientError::TorrentUnknown(id.to_owned()));
    }
    let lower = id.to_lowercase();
    // Names come from strangers: none stands for a whole hash, or goes before the hash it imitates.
    let is_hash = |torrent: &v1::Torrent| torrent.info_hash == lower;
    let hashed = |torrent: &v1::Torrent| torrent.info_hash.starts_with(&lower);
    let meant = |torrent: &v1::Torrent| torrent.display_name == id || hashed(torrent);
    let begins = |torrent: &v1::Torrent| torrent.display_name.to_lowercase().starts_with(&lower);
    let ways: [&dyn Fn(&v1::Torrent) -> bool; 3] = [&is_hash, &meant, &begins];
    for way in ways {
        let found: Vec<&v1::Torrent> = torrents.iter().filter(|torrent| way(torrent)).collect();
        match found[..] {
            [] => {}
            [one] => return Ok(one),
            _ => return Err(ClientError::Usage(ambiguous(id, &found))),
        }
    }
    Err(ClientError::TorrentUnknown(id.to_owned()))
}

fn ambiguous(id: &str, found: &[&v1::Torrent]) -> String {
    let shown = found
        .iter()
        .take(AMBIGUOUS_SHOWN)
        .map(|torrent| format!("\n  {} {}", torrent.info_hash, torrent.display_name));
    let more = match found.len().saturating_sub(AMBIGUOUS_SHOWN) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    let shown: String = shown.collect();
    let count = found.len();
    format!("{id:?} fits {count} torrents, use more of the info hash:{shown}{more}")
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torrent(info_hash: &str, name: &str) -> v1::Torrent {
        v1::Torrent {
            info_hash: info_hash.to_owned(),
            display_name: name.to_owned(),
            ..v1::Torrent::default()
        }
    }

    #[test]
    fn addresses_are_sockets_or_http() {
        let unix = Ok(ApiAddress::Unix(PathBuf::from("/run/x.sock")));
        assert_eq!("unix:/run/x.sock".parse(), unix);
        assert_eq!("unix:///run/x.sock".parse(), unix);
        assert_eq!("/run/x.sock".parse(), unix);
        let tcp = Ok(ApiAddress::Tcp("http://127.0.0.1:4620".to_owned()));
        assert_eq!("127.0.0.1:4620".parse(), tcp);
        assert_eq!("http://127.0.0.1:4620".parse(), tcp);
        assert!("unix:".parse::<ApiAddress>().is_err());
        assert!("https://example.org".parse::<ApiAddress>().is_err());
        assert!("nonsense".parse::<ApiAddress>().is_err());
    }

    #[test]
    fn torrents_go_by_name_or_unique_prefix() {
        let torrents = [
            torrent("aa11", "debian"),
            torrent("aa22", "arch"),
            torrent("bb33", "aa11x"),
        ];
        let hash = |id| pick(&torrents, id).map(|torrent| torrent.info_hash.as_str());
        assert_eq!(hash("debian").unwrap(), "aa11");
        assert_eq!(hash("AA2").unwrap(), "aa22");
        assert_eq!(hash("Deb").unwrap(), "aa11");
        // A hash goes before a name that begins alike.
        assert_eq!(hash("aa11").unwrap(), "aa11");
        let error = hash("aa").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(
            error.to_string(),
            "\"aa\" fits 2 torrents, use more of the info hash:\n  aa11 debian\n  aa22 arch"
        );
        assert_eq!(hash("zz").unwrap_err().exit_code(), 5);
    }

    /// Who makes a torrent names it; its name must not stand for another's hash.
    #[test]
    fn a_torrent_named_after_another_ones_hash_is_never_meant_by_it() {
        let torrents = [
            torrent("aa11", "debian"),
            torrent("bb22", "aa11"),
            torrent("cc33", "aa1"),
        ];
        let hash = |id| pick(&torrents, id).map(|torrent| torrent.info_hash.as_str());
        assert_eq!(hash("aa11").unwrap(), "aa11");
        assert_eq!(
            hash("aa1").unwrap_err().exit_code(),
            2,
            "either could be meant"
        );
        assert_eq!(hash("bb22").unwrap(), "bb22");
    }

    #[test]
    fn the_default_socket_lies_in_the_runtime_folder() {
        let runtime = Path::new("/run/user/1000");
        assert_eq!(
            default_socket(Some(runtime), None),
            Some(PathBuf::from("/run/user/1000/seedbank/api.sock"))
        );
        assert_eq!(
            default_socket(None, Some(Path::new("/h"))),
            Some(PathBuf::from("/h/.local/share/seedbank/api.sock"))
        );
    }
}
