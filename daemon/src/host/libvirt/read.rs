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
    others(connect, None)
}

/// All domains but one.
pub(super) fn others(connect: &Connect, but: Option<DomainUuid>) -> Result<Vec<Said>, Error> {
    let mut all = Vec::new();
    for it in connect.list_all_domains(0)? {
        if but != Some(DomainUuid::new(it.uuid()?)) {
            all.extend(domain(&it)?);
        }
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
    // Each of these asks libvirtd, which takes longer than all that is done with the answers.
    let state = ffi::state(domain)?;
    let active = state.0 != sys::VIR_DOMAIN_SHUTOFF;
    Ok(Said {
        uuid: DomainUuid::new(domain.uuid()?),
        name: domain.name()?,
        state,
        saved: !active && domain.has_managed_save(0)?,
        current: domain.xml_desc(0)?,
        definition: if active && domain.is_persistent()? {
            Some(domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?)
        } else {
            None
        },
    })
}
