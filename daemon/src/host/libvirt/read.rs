//! Asking libvirt what it says of domains. Text and numbers; what they mean is `look`'s affair.

use headstart_core::id::DomainUuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::{Error, ErrorNumber};
use virt::sys;

use super::ffi;
use super::look::Said;

/// All domains. One that goes while it is being read is left out; any other error is the whole's, since its devices would count as
/// free.
pub(super) fn all(connect: &Connect) -> Result<Vec<Said>, Error> {
    let mut all = Vec::new();
    for it in connect.list_all_domains(0)? {
        all.extend(domain(&it)?);
    }
    Ok(all)
}

/// One domain; none if it is not there any more.
pub(super) fn domain(domain: &Domain) -> Result<Option<Said>, Error> {
    match read(domain) {
        Ok(said) => Ok(Some(said)),
        Err(error) if error.code().is(ErrorNumber::NoDomain) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(domain: &Domain) -> Result<Said, Error> {
    let active = domain.is_active()?;
    Ok(Said {
        uuid: DomainUuid::new(domain.uuid()?),
        name: domain.name()?,
        state: ffi::state(domain)?,
        saved: !active && domain.has_managed_save(0)?,
        current: domain.xml_desc(0)?,
        definition: if active && domain.is_persistent()? {
            Some(domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?)
        } else {
            None
        },
    })
}
