//! Signed tokens of an identity provider (RFC 7519), checked offline against its public keys (RFC 7517).

use std::collections::HashMap;
use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;

use super::{AccessError, Identity};

/// How far the clocks of provider and proxy may be apart.
const LEEWAY_SECONDS: u64 = 60;
/// No token is longer.
const LONGEST: usize = 16 * 1024;

pub struct JwtParts<'a> {
    /// What messages call the file of keys.
    pub file: &'a str,
    pub text: &'a str,
    pub issuer: Option<&'a str>,
    pub audience: Option<&'a str>,
    pub groups: &'a str,
    pub name: &'a str,
}

struct Key {
    id: Option<String>,
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

/// Whose signatures are believed, and what a token must say.
pub struct Tokens {
    keys: Vec<Key>,
    issuer: Option<String>,
    audience: Option<String>,
    groups: String,
    name: String,
}

impl Tokens {
    pub fn new(parts: JwtParts<'_>) -> Result<Self, AccessError> {
        let file = parts.file;
        let set: JwkSet = serde_json::from_str(parts.text)
            .map_err(|e| AccessError(format!("{file}: line {}: not a set of JSON Web Keys", e.line())))?;
        let usable = |jwk: &&Jwk| !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
        let mut keys = Vec::new();
        for (index, jwk) in set.keys.iter().filter(usable).enumerate() {
            let algorithms = algorithms(jwk);
            if algorithms.is_empty() {
                // A secret that signs would have to be known here, and whoever knows it can sign.
                tracing::warn!(file, key = index, "a key that is not for public-key signatures is not used");
                continue;
            }
            let key = DecodingKey::from_jwk(jwk).map_err(|e| AccessError(format!("{file}: key {index}: {e}")))?;
            keys.push(Key { id: jwk.common.key_id.clone(), key, algorithms });
        }
        if keys.is_empty() {
            return Err(AccessError(format!("{file}: holds no public key for signatures (RSA, EC or Ed25519)")));
        }
        Ok(Self {
            keys,
            issuer: parts.issuer.map(str::to_owned),
            audience: parts.audience.map(str::to_owned),
            groups: parts.groups.to_owned(),
            name: parts.name.to_owned(),
        })
    }

    /// Whose token it is, if one of the keys signed it and it holds now.
    pub fn check(&self, token: &str) -> Option<Arc<Identity>> {
        if token.len() > LONGEST || token.split('.').count() != 3 {
            return None;
        }
        let header = decode_header(token).ok()?;
        let fits = |key: &&Key| {
            key.algorithms.contains(&header.alg) && (header.kid.is_none() || key.id.is_none() || key.id == header.kid)
        };
        // The algorithm is the key's to name; a token only says which of the key's it used.
        let claims = self.keys.iter().filter(fits).find_map(|key| {
            let validation = self.validation(header.alg);
            decode::<HashMap<String, Value>>(token, &key.key, &validation).ok().map(|data| data.claims)
        })?;
        let name = claims.get(&self.name)?.as_str().filter(|name| !name.is_empty())?;
        let groups = match claims.get(&self.groups) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(Arc::from).collect(),
            Some(Value::String(text)) => text.split([' ', ',']).filter(|g| !g.is_empty()).map(Arc::from).collect(),
            _ => Vec::new(),
        };
        Some(Arc::new(Identity { name: name.into(), groups }))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        validation
    }
}

/// What a key may have signed with: what it says itself, else what its kind can.
fn algorithms(jwk: &Jwk) -> Vec<Algorithm> {
    use Algorithm::*;
    let kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(_) => &[ES256, ES384],
        AlgorithmParameters::OctetKeyPair(_) => &[EdDSA],
        _ => &[],
    };
    let named = match jwk.common.key_algorithm {
        Some(KeyAlgorithm::RS256) => RS256,
        Some(KeyAlgorithm::RS384) => RS384,
        Some(KeyAlgorithm::RS512) => RS512,
        Some(KeyAlgorithm::PS256) => PS256,
        Some(KeyAlgorithm::PS384) => PS384,
        Some(KeyAlgorithm::PS512) => PS512,
        Some(KeyAlgorithm::ES256) => ES256,
        Some(KeyAlgorithm::ES384) => ES384,
        Some(KeyAlgorithm::EdDSA) => EdDSA,
        None => return kind.to_vec(),
        Some(_) => return Vec::new(),
    };
    kind.iter().copied().filter(|algorithm| *algorithm == named).collect()
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
