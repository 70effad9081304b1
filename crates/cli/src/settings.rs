//! Configuration: a flag before an environment variable before the file before the default, resolved exactly once.

use crate::failure::{Failure, Kind};
use crate::homes;
use crate::parse::{self, Limit};
use content::selector::BadSelector;
use content::{Rate, Selector};
use node::daemon::Policy;
use node::traces::{self, Collector};
use node::webhooks::{BadUrl, Url, Webhook};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the file is when nothing else is said.
const USUAL_FILE: &str = "/etc/tiding/tiding.toml";

/// What the file and the environment say.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Where a node keeps everything.
    home: Option<PathBuf>,
    /// Where the operator's keys are.
    operator_home: Option<PathBuf>,
    /// Inside which directory the paths of releases are resolved.
    root: Option<PathBuf>,
    /// Where a node accepts connections.
    listen: Option<SocketAddr>,
    /// At which addresses others reach the origin.
    advertise: Option<Vec<SocketAddr>>,
    /// What a node is called.
    name: Option<String>,
    /// The datacenter.
    datacenter: Option<String>,
    /// How fast pieces may move from and to this machine.
    limit: Option<String>,
    /// Where a node shows its figures.
    metrics: Option<String>,
    /// Whom a node tells spans.
    traces: Option<String>,
    /// The socket of the root half, if this machine's node is two halves.
    hands: Option<PathBuf>,
    /// Names for selections of agents: `web = "role=web,zone!=b"`, said as `--on @web`.
    #[serde(default)]
    groups: BTreeMap<String, String>,
    /// As whom commands of releases run on this machine, and as nobody else.
    hooks_user: Option<String>,
    /// Whom an origin tells what happens.
    #[serde(default)]
    webhooks: BTreeMap<String, WebhookSettings>,
}

/// `[webhooks.NAME]` of the file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WebhookSettings {
    /// Where to post; it stands here and nowhere else.
    url: String,
    /// A file whose content signs each post.
    secret_file: Option<PathBuf>,
    /// A file of certificates to believe instead of the system's.
    ca_file: Option<PathBuf>,
}

impl Settings {
    /// The environment variables that are read.
    pub(crate) const VARIABLES: [&str; 12] = [
        "TIDING_CONFIG",
        "TIDING_HOME",
        "TIDING_OPERATOR_HOME",
        "TIDING_ROOT",
        "TIDING_LISTEN",
        "TIDING_ADVERTISE",
        "TIDING_NAME",
        "TIDING_DATACENTER",
        "TIDING_LIMIT",
        "TIDING_METRICS",
        "TIDING_TRACES",
        "TIDING_HANDS",
    ];

    /// Reads the file (a missing one is an error only when it was named) and the environment over it.
    pub(crate) fn read(flag: Option<&Path>) -> Result<Self, Failure> {
        let named = flag.map(Path::to_owned).or_else(|| std::env::var_os("TIDING_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from(USUAL_FILE));
        let file = match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&path, &text)?,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(unreadable(&path).because(error)),
        };
        file.overridden(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| unreadable(path).because(error))
    }

    /// The environment over the file.
    fn overridden(self, of: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let addresses = |text: String| text.split(',').map(|one| address("TIDING_ADVERTISE", one.trim())).collect();
        Ok(Self {
            home: of("TIDING_HOME").map(PathBuf::from).or(self.home),
            operator_home: of("TIDING_OPERATOR_HOME").map(PathBuf::from).or(self.operator_home),
            root: of("TIDING_ROOT").map(PathBuf::from).or(self.root),
            listen: of("TIDING_LISTEN").map(|text| address("TIDING_LISTEN", &text)).transpose()?.or(self.listen),
            advertise: of("TIDING_ADVERTISE").map(addresses).transpose()?.or(self.advertise),
            name: of("TIDING_NAME").or(self.name),
            datacenter: of("TIDING_DATACENTER").or(self.datacenter),
            limit: of("TIDING_LIMIT").or(self.limit),
            metrics: of("TIDING_METRICS").or(self.metrics),
            traces: of("TIDING_TRACES").or(self.traces),
            hands: of("TIDING_HANDS").map(PathBuf::from).or(self.hands),
            groups: self.groups,
            hooks_user: self.hooks_user,
            webhooks: self.webhooks,
        })
    }

    /// Where a node keeps everything.
    pub(crate) fn home(&self, flag: Option<&PathBuf>) -> Result<PathBuf, Failure> {
        let chosen = flag.or(self.home.as_ref()).cloned();
        homes::absolute(&chosen.map_or_else(homes::node, Ok)?)
    }

    /// Where the operator's keys are.
    pub(crate) fn operator_home(&self, flag: Option<&PathBuf>) -> Result<PathBuf, Failure> {
        let chosen = flag.or(self.operator_home.as_ref()).cloned();
        homes::absolute(&chosen.map_or_else(homes::operator, Ok)?)
    }

    /// Inside which directory the paths of releases are resolved.
    pub(crate) fn root(&self, flag: Option<&PathBuf>) -> Result<PathBuf, Failure> {
        homes::absolute(flag.or(self.root.as_ref()).map_or(Path::new("/"), PathBuf::as_path))
    }

    /// The socket of the root half, if there is to be one.
    pub(crate) fn hands(&self, flag: Option<&PathBuf>) -> Option<PathBuf> {
        flag.or(self.hands.as_ref()).cloned()
    }

    /// Where a node accepts connections.
    pub(crate) fn listen(&self, flag: Option<SocketAddr>) -> Option<SocketAddr> {
        flag.or(self.listen)
    }

    /// At which addresses others reach the origin; empty when nothing was said.
    pub(crate) fn advertise(&self, flag: &[SocketAddr]) -> Vec<SocketAddr> {
        if flag.is_empty() { self.advertise.clone().unwrap_or_default() } else { flag.to_vec() }
    }

    /// What the node is called, if anybody said.
    pub(crate) fn name(&self, flag: Option<&String>) -> Option<String> {
        flag.or(self.name.as_ref()).cloned()
    }

    /// The datacenter.
    pub(crate) fn datacenter(&self, flag: Option<&String>) -> String {
        flag.or(self.datacenter.as_ref()).cloned().unwrap_or_else(|| "dc1".to_owned())
    }
}

impl Settings {
    /// Which agents are meant by these words, all of which must hold.
    pub(crate) fn select(&self, words: &[String]) -> Result<Selector, Failure> {
        let refused = |word: &str, why: &dyn std::fmt::Display| {
            let failure = Failure::new(Kind::Usage, format!("`{word}` does not say which agents")).because(why);
            failure.next(
                "write for example --on 'role=web,zone!=b', --on 'zone=a|b', --on gpu, --on '!old' or --on @GROUP",
            )
        };
        let parts = words.iter().flat_map(|word| word.split(',').map(move |part| (word, part.trim())));
        parts.into_iter().try_fold(Selector::default(), |selector, (word, part)| {
            let text = match part.strip_prefix('@') {
                Some(group) => self.group(group).map_err(|why| refused(word, &why))?,
                None if part.is_empty() => return Err(refused(word, &"a condition is empty")),
                None => part,
            };
            let more: Selector = text.parse().map_err(|bad: BadSelector| refused(word, &bad))?;
            selector.and(&more).map_err(|bad| refused(word, &bad))
        })
    }

    fn group(&self, name: &str) -> Result<&str, String> {
        let known = || match self.groups.is_empty() {
            true => "the configuration has no [groups]".to_owned(),
            false => format!("the configuration has {}", self.groups.keys().cloned().collect::<Vec<_>>().join(", ")),
        };
        let text = self.groups.get(name).ok_or_else(|| format!("there is no group {name}: {}", known()))?;
        // A template whose variable is not set would select everyone.
        match text.trim().is_empty() {
            true => Err(format!("the group {name} is empty in the configuration")),
            false => Ok(text),
        }
    }
}

impl Settings {
    /// How fast pieces may move from and to this machine.
    pub(crate) fn limit(&self, flag: Option<Limit>) -> Result<Option<Rate>, Failure> {
        let said = self.limit.as_deref().filter(|_| flag.is_none()).map(parse::limit).transpose();
        let said = said.map_err(|why| {
            let failure = Failure::new(Kind::Usage, "`limit` in the configuration or TIDING_LIMIT is no limit");
            failure.because_and_next(why)
        })?;
        Ok(flag.or(said).and_then(|limit| limit.0))
    }
}

impl Settings {
    /// Where a node shows its figures, if anywhere.
    pub(crate) fn metrics(&self, flag: Option<SocketAddr>) -> Result<Option<SocketAddr>, Failure> {
        let said = self.metrics.as_deref().filter(|_| flag.is_none()).map(parse::metrics).transpose();
        let said = said.map_err(|why| {
            let failure = Failure::new(Kind::Usage, "cannot use `metrics` of the configuration or TIDING_METRICS");
            failure.because_and_next(why)
        })?;
        Ok(flag.or(said))
    }

    /// Whom a node tells spans, if anyone.
    fn traces(&self, flag: Option<&Collector>) -> Result<Option<Collector>, Failure> {
        let said = self.traces.as_deref().filter(|_| flag.is_none()).map(str::parse::<Collector>).transpose();
        let said = said.map_err(|why| {
            let failure = Failure::new(Kind::Usage, "cannot use `traces` of the configuration or TIDING_TRACES");
            failure.because_and_next(why)
        })?;
        match flag.cloned().or(said) {
            Some(_) if !traces::CAN_BE_TOLD => {
                let failure = Failure::new(Kind::Usage, "this tiding was built without traces");
                Err(failure
                    .because("they are in builds with the feature `otel` only")
                    .next("cargo build --release --features otel"))
            }
            collector => Ok(collector),
        }
    }

    /// What a node of this machine does and does not, whoever asks.
    pub(crate) fn policy(&self, collector: Option<&Collector>) -> Result<Policy, Failure> {
        let webhooks = self.webhooks.iter().map(|(name, said)| said.webhook(name)).collect::<Result<_, _>>()?;
        let traces = self.traces(collector)?;
        Ok(Policy { hooks_user: self.hooks_user.clone(), webhooks, traces, ..Policy::default() })
    }
}

impl WebhookSettings {
    fn webhook(&self, name: &str) -> Result<Webhook, Failure> {
        let wrong = || Failure::new(Kind::Usage, format!("the webhook {name} of the configuration makes no sense"));
        let is_plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !is_plain(name) {
            return Err(wrong().because("its name is not made of letters, digits and dashes").next("[webhooks.chat]"));
        }
        let url: Url = self.url.parse().map_err(|bad: BadUrl| wrong().because_and_next(bad))?;
        let read = |path: &PathBuf| {
            let bytes = std::fs::read(path).map_err(|error| wrong().because(format!("{}: {error}", path.display())))?;
            match bytes.trim_ascii() {
                [] => Err(wrong()
                    .because(format!("{} is empty", path.display()))
                    .next("put a secret of your own into it")),
                secret => Ok(secret.to_vec()),
            }
        };
        let secret = self.secret_file.as_ref().map(read).transpose()?;
        Ok(Webhook { name: name.to_owned(), url, secret, authorities: self.ca_file.clone() })
    }
}

fn unreadable(path: &Path) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read the configuration {}", path.display()))
        .next("`tiding --help` lists what it may hold")
}

fn address(variable: &str, text: &str) -> Result<SocketAddr, Failure> {
    text.parse().map_err(|_| {
        Failure::new(Kind::Usage, format!("{variable} is `{text}`, which is no address"))
            .next("write an IP address and a port, for example 10.0.0.5:7443")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_the_configuration_and_conditions_are_all_to_hold() {
        let file = "[groups]\nweb = 'role=web,zone!=b'\nbad = 'role='\nempty = ' '";
        let settings = Settings::parse(Path::new("x"), file).expect("fine");
        let select = |words: &[&str]| settings.select(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let chosen = |words: &[&str]| select(words).map(|selector| selector.to_string()).expect("a selector");
        assert_eq!(chosen(&[]), "");
        assert_eq!(chosen(&["@web"]), "role=web,zone!=b");
        assert_eq!(chosen(&["@web,gpu", "!old"]), "gpu,!old,role=web,zone!=b");
        for wrong in [&["@wep"][..], &["@bad"], &["@empty"], &[""], &["role=web,"], &["@web", "role=db"], &["role=Web"]]
        {
            let failure = select(wrong).expect_err("it is wrong");
            assert!(failure.next.is_some_and(|next| next.contains("--on @GROUP")), "{wrong:?}");
        }
        let unknown = select(&["@wep"]).expect_err("no such group").why;
        assert!(
            unknown.as_ref().is_some_and(|why| why.contains("the configuration has bad, empty, web")),
            "{unknown:?}"
        );
    }

    #[test]
    fn a_flag_is_before_the_environment_before_the_file() {
        let file =
            Settings::parse(Path::new("x"), "home = '/file'\nname = 'file'\nlisten = '10.0.0.1:1'").expect("fine");
        let both = file.overridden(|name| (name == "TIDING_HOME").then(|| "/env".to_owned())).expect("fine");
        assert_eq!(both.home(None).expect("absolute"), Path::new("/env"));
        assert_eq!(both.home(Some(&"/flag".into())).expect("absolute"), Path::new("/flag"));
        assert_eq!(both.name(None).as_deref(), Some("file"));
        assert_eq!(both.listen(None), Some("10.0.0.1:1".parse().expect("an address")));
    }

    #[test]
    fn a_limit_of_the_file_can_be_lifted_and_an_unclear_one_is_refused() {
        let of = |text: &str| Settings::parse(Path::new("x"), &format!("limit = '{text}'")).expect("fine");
        assert_eq!(of("50Mbit").limit(None).expect("clear"), Some(Rate(6_250_000)));
        assert_eq!(of("50Mbit").limit(Some(Limit(None))).expect("clear"), None);
        assert_eq!(of("50Mb").limit(Some(Limit(Some(Rate(5000))))).expect("not looked at"), Some(Rate(5000)));
        let unclear = of("50Mb").limit(None).expect_err("bits or bytes");
        assert!(unclear.kind == Kind::Usage && unclear.next.is_some_and(|next| next.contains("50Mbit")));
        assert_eq!(Settings::default().limit(None).expect("nothing said"), None);
    }

    #[test]
    fn webhooks_are_read_whole_or_refused_in_words() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let secret = temp.path().join("secret");
        let of = |name: &str, url: &str| {
            let file = secret.display();
            let text = format!("hooks-user = 'app'\n[webhooks.{name}]\nurl = '{url}'\nsecret-file = '{file}'");
            Settings::parse(Path::new("x"), &text).expect("TOML").policy(None)
        };
        let missing = of("chat", "https://example.com/x").expect_err("no secret").why;
        assert!(missing.is_some_and(|why| why.contains("secret")));
        std::fs::write(&secret, "\n").expect("a file");
        assert!(of("chat", "https://example.com/x").is_err_and(|failure| failure.kind == Kind::Usage));
        std::fs::write(&secret, "between us\n").expect("a file");
        let policy = of("chat", "https://example.com/x").expect("whole");
        assert_eq!(
            (policy.hooks_user.as_deref(), policy.webhooks[0].secret.as_deref()),
            (Some("app"), Some(&b"between us"[..]))
        );
        let clear = of("chat", "http://example.com/x").expect_err("in the clear");
        assert!(clear.next.is_some_and(|next| next.contains("https://")));
        assert!(of("'a/b'", "https://example.com/").is_err());
        assert!(Settings::parse(Path::new("x"), "[webhooks.a]\nurl = 'x'\nfollow = true").is_err());
    }

    #[test]
    fn figures_are_shown_to_this_machine_alone_unless_a_word_says_otherwise() {
        let of =
            |text: &str| Settings::parse(Path::new("x"), &format!("metrics = '{text}'")).expect("fine").metrics(None);
        let address = |text: &str| Some(text.parse::<SocketAddr>().expect("an address"));
        assert_eq!(of("127.0.0.1:9723").expect("it is this machine's"), address("127.0.0.1:9723"));
        assert_eq!(of("[::1]:9723").expect("it is this machine's"), address("[::1]:9723"));
        assert_eq!(of("public:0.0.0.0:9723").expect("it was said"), address("0.0.0.0:9723"));
        for others in ["0.0.0.0:9723", "10.0.0.5:9723", "[::]:9723"] {
            let refused = of(others).expect_err("it is not this machine's alone");
            assert!(
                refused.kind == Kind::Usage
                    && refused.next.is_some_and(|next| next.contains(&format!("public:{others}")))
            );
        }
        assert!(of("9723").is_err() && of("public:").is_err() && of("localhost:9723").is_err());
        assert_eq!(Settings::default().metrics(None).expect("nothing said"), None);
    }

    #[test]
    fn an_unknown_key_and_a_bad_address_are_refused() {
        assert!(Settings::parse(Path::new("x"), "hoem = '/x'").is_err());
        let bad = Settings::default().overridden(|name| (name == "TIDING_LISTEN").then(|| "port".to_owned()));
        assert_eq!(bad.map_err(|failure| failure.kind).err(), Some(Kind::Usage));
    }
}
