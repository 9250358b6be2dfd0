//! What Keystone gives with a token: how long it is good for, and where the services are.

use std::collections::BTreeMap;
use std::time::Duration;

use drivetrain_fetch::Secret;
use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use super::client::Service;

/// A token that ends sooner is replaced before it is used: a request may take a while to get there.
const SPARE: Duration = Duration::from_secs(20);

/// A token, and what belongs to it.
pub(super) struct Session {
    pub(super) token: Secret,
    /// Counts the sessions of a client.
    pub(super) number: u64,
    pub(super) catalogue: Catalogue,
    pub(super) project: String,
    /// The project's and the user's name.
    pub(super) project_name: String,
    pub(super) user: String,
    /// When it is to be replaced.
    until: Option<Timestamp>,
}

impl Session {
    pub(super) fn new(token: Secret, number: u64, catalogue: Catalogue, body: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let expires = body["expires_at"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
        Self {
            token,
            number,
            catalogue,
            project: text(&body["project"]["id"]),
            project_name: text(&body["project"]["name"]),
            user: text(&body["user"]["name"]),
            until: expires.and_then(|at| renewal(Timestamp::now(), at)),
        }
    }

    pub(super) fn ends_soon(&self) -> bool {
        self.until.is_some_and(|until| until <= Timestamp::now())
    }
}

/// When a token that was given now is to be replaced; `None` where our clock and Keystone's are so far apart that it
/// would be at once.
fn renewal(now: Timestamp, expires: Timestamp) -> Option<Timestamp> {
    let until = expires.checked_sub(SPARE).ok()?;
    (until > now).then_some(until)
}

/// Where the services are.
pub(super) struct Catalogue(BTreeMap<Service, Url>);

impl Catalogue {
    /// Reads it from a token.
    pub(super) fn read(token: &Value, interface: &str, region: Option<&str>) -> Self {
        let all = token["catalog"].as_array().map(Vec::as_slice).unwrap_or_default();
        let found = Service::ALL.into_iter().filter_map(|service| {
            let url = service.types().iter().find_map(|name| endpoint(all, name, interface, region))?;
            Some((service, complete(url, service)))
        });
        Self(found.collect())
    }

    pub(super) fn get(&self, service: Service) -> Option<&Url> {
        self.0.get(&service)
    }
}

fn endpoint(catalogue: &[Value], name: &str, interface: &str, region: Option<&str>) -> Option<Url> {
    let services = catalogue.iter().filter(|entry| entry["type"] == name);
    let mut endpoints = services.flat_map(|entry| entry["endpoints"].as_array().into_iter().flatten());
    let endpoint = endpoints.find(|endpoint| {
        let here =
            region.is_none_or(|region| endpoint["region_id"] == region || endpoint["region"] == region);
        here && endpoint["interface"] == interface
    })?;
    Url::parse(endpoint["url"].as_str()?).ok()
}

/// With the version that is spoken to it, where the catalogue leaves that to discovery.
fn complete(mut url: Url, service: Service) -> Url {
    let Some(version) = service.version() else { return url };
    let path = url.path().trim_end_matches('/').to_owned();
    let last = path.rsplit('/').next().unwrap_or_default();
    let has_version =
        last.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if !has_version {
        url.set_path(&format!("{path}/{version}"));
    }
    url
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token() -> Value {
        let endpoints = |url: &str| {
            json!([
                { "interface": "internal", "region_id": "R1", "url": format!("http://inside/{url}") },
                { "interface": "public", "region_id": "R1", "url": format!("https://one/{url}") },
                { "interface": "public", "region_id": "R2", "url": format!("https://two/{url}") },
            ])
        };
        json!({ "catalog": [
            { "type": "compute", "endpoints": endpoints("nova/v2.1") },
            { "type": "network", "endpoints": endpoints("neutron/") },
            { "type": "image", "endpoints": endpoints("glance/v2/") },
            { "type": "volumev3", "endpoints": endpoints("v3/0123") },
        ]})
    }

    #[test]
    fn services_are_found_by_region_and_interface_and_get_their_version() {
        let urls = |catalogue: &Catalogue| -> Vec<String> {
            Service::ALL.iter().map(|service| catalogue.get(*service).unwrap().to_string()).collect()
        };
        let catalogue = Catalogue::read(&token(), "public", Some("R2"));
        assert_eq!(
            urls(&catalogue),
            [
                "https://two/nova/v2.1",
                "https://two/neutron/v2.0",
                "https://two/glance/v2/",
                "https://two/v3/0123"
            ]
        );
        let catalogue = Catalogue::read(&token(), "internal", None);
        assert_eq!(catalogue.get(Service::Compute).unwrap().as_str(), "http://inside/nova/v2.1");
        assert!(Catalogue::read(&token(), "public", Some("R3")).get(Service::Compute).is_none());
    }

    #[test]
    fn a_token_is_replaced_before_it_ends_unless_the_clocks_are_apart() {
        let now = Timestamp::from_second(1000).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(renewal(now, at(4600)), Some(at(4580)));
        assert_eq!(renewal(now, at(900)), None);
    }
}
