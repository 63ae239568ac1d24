//! Who a verified client certificate names: its common name, and its organizational units as groups.

use std::sync::Arc;

use x509_parser::prelude::{FromDer, X509Certificate};

use super::Identity;

/// None where the certificate has no common name.
pub fn identity(certificate: &[u8]) -> Option<Arc<Identity>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok().filter(|name| !name.is_empty())?;
    let groups = subject.iter_organizational_unit().filter_map(|unit| unit.as_str().ok()).map(Arc::from).collect();
    Some(Arc::new(Identity { name: name.into(), groups }))
}
