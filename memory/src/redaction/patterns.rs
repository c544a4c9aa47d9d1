//! Secrets that are known by their shape. The shapes are those their issuers document, as collected by
//! gitleaks (config/gitleaks.toml) and GitHub's secret scanning.

use std::sync::LazyLock;

use regex::Regex;

use super::Finding;
use super::named::looks_secret;

/// A secret that begins in a way of its own.
#[derive(Clone, Copy)]
struct Shape {
    what: &'static str,
    /// What it begins with, in small letters; only there the rest is looked at, since most text has no secrets.
    begins: &'static [&'static str],
    /// The whole of it, from there. Where there is a group, only the group is the secret.
    whole: &'static str,
    /// What stands before it may not be a part of a word.
    is_word: bool,
    /// Whether what has the shape is one: words have it too.
    is_one: fn(&str) -> bool,
}

const fn word(what: &'static str, begins: &'static [&'static str], whole: &'static str) -> Shape {
    Shape { what, begins, whole, is_word: true, is_one: |_| true }
}

const fn anywhere(what: &'static str, begins: &'static [&'static str], whole: &'static str) -> Shape {
    Shape { is_word: false, ..word(what, begins, whole) }
}

impl Shape {
    const fn unless_words(self) -> Self {
        Self { is_one: |secret| !is_words(secret), ..self }
    }

    const fn like_a_password(self) -> Self {
        Self { is_one: |secret| looks_secret("password", secret), ..self }
    }
}

/// `learn-contrib-2`, `YOUR_ACCESS_TOKEN`: words and small numbers, however they are joined.
fn is_words(text: &str) -> bool {
    let parts = text.split(['-', '_', '.', '~', '+', '/', '=']).filter(|part| !part.is_empty());
    parts.into_iter().all(|part| {
        let rest = part.get(1..).unwrap_or_default();
        let number = part.len() <= 4 && part.bytes().all(|byte| byte.is_ascii_digit());
        let all = |is: fn(&u8) -> bool| part.bytes().all(|byte| is(&byte));
        number
            || all(u8::is_ascii_uppercase)
            || (part.is_char_boundary(1)
                && all(u8::is_ascii_alphabetic)
                && rest.bytes().all(|byte| byte.is_ascii_lowercase()))
    })
}

const SHAPES: &[Shape] = &[
    anywhere(
        "private key",
        &["-----begin "],
        r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?s:.)*?(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\z)",
    ),
    anywhere("private key", &["private-lines:"], r"Private-Lines: [0-9]+(?s:.)*?(?:Private-MAC: [0-9a-fA-F]+|\z)"),
    anywhere("age key", &["age-secret-key-1"], r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    anywhere("password", &["://"], r#"://[^\s:/?#@"'<>]*:([^\s/?#"'<>]+)@"#),
    word("AWS key", &["akia", "asia", "abia", "acca"], r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"),
    word("GitHub token", &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], r"gh[pousr]_[A-Za-z0-9]{36,}"),
    word("GitHub token", &["github_pat_"], r"github_pat_[A-Za-z0-9_]{22,}"),
    word(
        "GitLab token",
        &["glpat-", "gldt-", "glrt-", "glptt-", "glagent-", "glsoat-", "glft-", "gloas-", "glcbt-"],
        r"gl[a-z]{2,5}-[A-Za-z0-9_-]{20,}",
    ),
    word("Slack token", &["xox"], r"xox[abceoprs]-[A-Za-z0-9-]{10,}"),
    word("Slack token", &["xapp-"], r"xapp-[0-9]-[A-Za-z0-9-]{10,}"),
    anywhere(
        "Slack webhook",
        &["hooks.slack.com/"],
        r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9+/]{20,})",
    ),
    word("API key", &["sk-"], r"sk-(?:ant-|proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,}").unless_words(),
    word("Google key", &["aiza"], r"AIza[A-Za-z0-9_-]{35}"),
    word("Google token", &["ya29."], r"ya29\.[A-Za-z0-9_-]{20,}"),
    word("Google token", &["gocspx-"], r"GOCSPX-[A-Za-z0-9_-]{28}"),
    word("Stripe key", &["sk_", "rk_"], r"[sr]k_(?:live|test|prod)_[A-Za-z0-9]{10,}"),
    word("Stripe key", &["whsec_"], r"whsec_[A-Za-z0-9+/=]{24,}"),
    word("Hugging Face token", &["hf_", "api_org_"], r"(?:hf|api_org)_[A-Za-z0-9]{30,64}"),
    word("npm token", &["npm_"], r"npm_[A-Za-z0-9]{36}"),
    word("PyPI token", &["pypi-"], r"pypi-[A-Za-z0-9_-]{50,}"),
    word("crates.io token", &["cio"], r"cio[A-Za-z0-9]{32}\b"),
    word("RubyGems key", &["rubygems_"], r"rubygems_[a-f0-9]{48}"),
    word("SendGrid key", &["sg."], r"SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"),
    word("Twilio key", &["sk"], r"SK[0-9a-f]{32}\b"),
    word("Mailgun key", &["key-"], r"key-[0-9a-f]{32}\b"),
    word("DigitalOcean token", &["dop_v1_", "doo_v1_", "dor_v1_"], r"do[opr]_v1_[a-f0-9]{64}"),
    word("Shopify token", &["shpat_", "shpca_", "shppa_", "shpss_"], r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    anywhere("Telegram token", &[":aa"], r":AA[A-Za-z0-9_-]{33}\b"),
    word("Databricks token", &["dapi"], r"dapi[a-f0-9]{32}"),
    word("Linear key", &["lin_api_", "lin_oauth_"], r"lin_(?:api|oauth)_[A-Za-z0-9]{32,64}"),
    word("Notion token", &["ntn_", "secret_"], r"(?:ntn_[A-Za-z0-9]{40,60}|secret_[A-Za-z0-9]{43})\b"),
    word("Vault token", &["hvs.", "hvb.", "hvr."], r"hv[sbr]\.[A-Za-z0-9_-]{24,}"),
    word("Groq key", &["gsk_"], r"gsk_[A-Za-z0-9]{40,64}"),
    word("Replicate token", &["r8_"], r"r8_[A-Za-z0-9]{37}\b"),
    word("Perplexity key", &["pplx-"], r"pplx-[A-Za-z0-9]{40,64}"),
    word("xAI key", &["xai-"], r"xai-[A-Za-z0-9]{40,}"),
    word("Docker token", &["dckr_"], r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,64}"),
    word("Atlassian token", &["atatt3"], r"ATATT3[A-Za-z0-9_=-]{100,}"),
    word("New Relic key", &["nrak-"], r"NRAK-[A-Z0-9]{27}"),
    word("Grafana token", &["glsa_", "glc_"], r"gl(?:sa|c)_[A-Za-z0-9+/=_]{32,}"),
    word("Sentry token", &["sntrys_", "sntryu_"], r"sntry[su]_[A-Za-z0-9+/=_-]{40,}"),
    word("Postman key", &["pmak-"], r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}"),
    word(
        "Azure key",
        &["accountkey=", "sharedaccesskey="],
        r"(?i:AccountKey|SharedAccessKey)=([A-Za-z0-9+/]{40,88}={0,2})",
    ),
    anywhere(
        "signature",
        &["sig=", "x-amz-signature=", "x-goog-signature="],
        r"(?i:sig|X-Amz-Signature|X-Goog-Signature)=([A-Za-z0-9%+/=_-]{32,})",
    ),
    word("JSON web token", &["eyj"], r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    anywhere(
        "Discord webhook",
        &["discord.com/api/webhooks/", "discordapp.com/api/webhooks/"],
        r"discord(?:app)?\.com/api/webhooks/[0-9]+/([A-Za-z0-9_-]{40,})",
    ),
    word("Supabase token", &["sbp_", "sb_secret_"], r"sbp_[a-f0-9]{40}|sb_secret_[A-Za-z0-9_-]{20,}"),
    word("Tailscale key", &["tskey-"], r"tskey-[a-z]+-[A-Za-z0-9]{8,}-?[A-Za-z0-9]*"),
    word("Doppler token", &["dp.pt.", "dp.st."], r"dp\.(?:pt|st)\.[A-Za-z0-9._-]{20,}"),
    word("Figma token", &["figd_"], r"figd_[A-Za-z0-9_-]{36,}"),
    word("Airtable token", &["pat"], r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}"),
    word("PlanetScale token", &["pscale_"], r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9=._-]{30,}"),
    word("1Password token", &["ops_ey"], r"ops_ey[A-Za-z0-9_-]{100,}"),
    word("password", &["login"], r"(?i:login)\s+\S+\s+(?:(?i:account)\s+\S+\s+)?(?i:password)\s+(\S{4,})"),
    anywhere("password", &["-u", "--user"], r#"(?:-u|--user)[\s=]*["']?[^\s:"'/]{1,80}:([^\s"']{6,})"#)
        .like_a_password(),
    word("password", &["sshpass"], r#"sshpass\s+-p\s*["']?([^\s"']{4,})"#),
    word(
        "password",
        &["mysql", "mariadb"],
        r#"(?:mysql|mariadb)[a-z-]*\s(?:[^\n|;&]{0,200}?\s)?-p["']?([^\s"'|;&]{4,})"#,
    ),
    word(
        "password",
        &["docker", "podman", "helm"],
        r#"(?:docker|podman|helm)\s+(?:registry\s+)?login\s(?:[^\n|;&]{0,200}?\s)?-p[\s=]*["']?([^\s"'|;&]{4,})"#,
    ),
    anywhere("credentials", &["_auth"], r#"_auth["']?\s*[:=]\s*["']?([A-Za-z0-9+/]{8,}={0,2})"#).unless_words(),
    anywhere("credentials", &["\"auth\""], r#""auth"\s*:\s*"([A-Za-z0-9+/]{12,}={0,2})""#).unless_words(),
    word("cookie", &["cookie"], r#"(?i:cookie)["']?\s*[:=]\s*["']?([A-Za-z0-9_.-]{1,60}=[^\s"';]{16,}[^\r\n"']*)"#),
    word("cookie", &["set-cookie"], r#"(?i:set-cookie)["']?\s*[:=]\s*["']?([A-Za-z0-9_.-]{1,60}=[^\s"';]{16,})"#),
    word(
        "credentials",
        &["authorization"],
        r"(?i:authorization)[\x22']?\s*[:=]\s*[\x22']?(?i:basic|bearer|token|digest|apikey)\s+([A-Za-z0-9._~+/=-]{8,})",
    )
    .unless_words(),
    word("credentials", &["bearer"], r"(?i:bearer)\s+([A-Za-z0-9._~+/-]{24,}=*)").unless_words(),
];

/// Where a secret may begin: one look at the text for all beginnings.
static BEGINNINGS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let all: Vec<String> = SHAPES.iter().flat_map(|shape| shape.begins).map(|begin| regex::escape(begin)).collect();
    Regex::new(&format!("(?i-u:{})", all.join("|"))).ok()
});
static WHOLES: LazyLock<Vec<Option<Regex>>> =
    LazyLock::new(|| SHAPES.iter().map(|shape| Regex::new(&format!(r"\A(?:{})", shape.whole)).ok()).collect());

pub(super) fn find(text: &str, findings: &mut Vec<Finding>) {
    let Some(beginnings) = &*BEGINNINGS else { return };
    let mut from = 0;
    while let Some(begin) = beginnings.find_at(text, from) {
        from = begin.start() + 1;
        while !text.is_char_boundary(from) {
            from += 1;
        }
        let before = text.get(..begin.start()).and_then(|before| before.chars().next_back());
        let within_a_word = before.is_some_and(|before| before.is_ascii_alphanumeric() || before == '_');
        let rest = text.get(begin.start()..).unwrap_or_default();
        for (shape, whole) in SHAPES.iter().zip(WHOLES.iter()) {
            let possible =
                !(shape.is_word && within_a_word) && shape.begins.iter().any(|begins| starts_with(rest, begins));
            let Some(captures) = possible.then_some(whole.as_ref()).flatten().and_then(|whole| whole.captures(rest))
            else {
                continue;
            };
            if let Some(secret) =
                captures.get(1).or_else(|| captures.get(0)).filter(|secret| (shape.is_one)(secret.as_str()))
            {
                let place = begin.start() + secret.start()..begin.start() + secret.end();
                from = from.max(place.end);
                findings.push(Finding { place, what: shape.what });
                break;
            }
        }
    }
}

fn starts_with(text: &str, small: &str) -> bool {
    text.as_bytes().get(..small.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(small.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::{BEGINNINGS, SHAPES, WHOLES};
    use crate::redaction::Redactor;

    #[test]
    fn every_shape_is_a_regular_expression() {
        assert!(BEGINNINGS.is_some());
        for (shape, whole) in SHAPES.iter().zip(WHOLES.iter()) {
            assert!(whole.is_some(), "{}: {}", shape.what, shape.whole);
        }
    }

    #[test]
    fn private_keys_go_as_a_whole_also_when_they_were_cut() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nBG5vbmU=\n-----END OPENSSH PRIVATE KEY-----";
        let redactor = Redactor::new();
        assert_eq!(redactor.redact(&format!("a {key} b")), "a [redacted: private key] b");
        assert_eq!(redactor.redact(&key[..60]), "[redacted: private key]");
        assert_eq!(redactor.redact(&key.replace('\n', "\\n")), "[redacted: private key]");
        let public = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ\n-----END PUBLIC KEY-----";
        assert_eq!(redactor.redact(public), public);
    }

    #[test]
    fn a_password_goes_and_the_rest_of_the_address_stays() {
        let redactor = Redactor::new();
        for (address, clean) in [
            (
                "postgres://ada:p4ss:w0rd@db.example.com:5432/app",
                "postgres://ada:[redacted: password]@db.example.com:5432/app",
            ),
            ("redis://:only@cache", "redis://:[redacted: password]@cache"),
            ("see https://example.com:8080/a@b and mailto:a@b.c", "see https://example.com:8080/a@b and mailto:a@b.c"),
        ] {
            assert_eq!(redactor.redact(address), clean);
        }
    }
}
