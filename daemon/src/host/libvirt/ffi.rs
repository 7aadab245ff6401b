//! What the crate `virt` does not wrap: events, the close callback, the guest's users, detaching by alias.
//!
//! The only file with unsafe code. Callbacks run on libvirt's event thread: they copy what they are told into owned values, hand it to
//! a closure and return; they call nothing of libvirt but the accessors that need no connection.

#![expect(unsafe_code, reason = "libvirt is a C library, and virt wraps neither its events nor its guest information")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{ptr, thread};

use headstart_core::id::DomainUuid;
use headstart_core::unit::Time;
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;
use virt::sys;

/// What libvirt told of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DomainEvent {
    pub(super) uuid: DomainUuid,
    pub(super) name: String,
    /// The number of its run; none: it is off.
    pub(super) run: Option<u32>,
    pub(super) what: What,
}

/// What happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// `virDomainEventType`.
    Lifecycle(u32),
    Reboot,
    Screen(Phase, Client),
    /// The guest agent came (true) or went.
    Agent(bool),
    Metadata,
    Added(String),
    Removed(String),
    RemovalFailed(String),
}

/// Where a client of a screen stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Connected, not let in yet.
    Connected,
    /// Let in.
    LetIn,
    Gone,
}

/// Who looks at a screen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    /// Over the network.
    Tcp(SocketAddr),
    /// Over a socket of this host.
    Local(String),
}

/// Who is told of domains. It must neither wait nor call libvirt.
pub(super) type Sink = Arc<dyn Fn(DomainEvent) + Send + Sync>;
/// Who is told that the connection is gone. As above; a driver that knows no loss forgets it without giving it back.
pub(super) type Closed = Arc<dyn Fn() + Send + Sync>;

/// Starts libvirt's event loop, once in a process and before its first connection. It ends with the process.
pub(super) fn start_events() -> Result<(), Error> {
    static STARTED: OnceLock<Result<(), Error>> = OnceLock::new();
    let start = || {
        virt::error::clear_error_callback();
        virt::event::event_register_default_impl()?;
        let run = || {
            loop {
                if let Err(error) = virt::event::event_run_default_impl() {
                    tracing::error!("libvirt's event loop: {error}");
                    thread::sleep(Duration::from_secs(1));
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("libvirt-events".into()).spawn(run) {
            // Without events the host is still looked at, at every poll.
            tracing::error!("no thread for libvirt's events: {error}");
        }
        Ok(())
    };
    STARTED.get_or_init(start).clone()
}

/// A connection that tells what happens. Dropping it ends that.
pub(super) struct Listening {
    connection: Connect,
    callbacks: Vec<c_int>,
    closes: bool,
}

impl Listening {
    /// Events that this libvirt does not offer are done without: they only shorten the wait.
    pub(super) fn new(connection: Connect, sink: &Sink, closed: &Closed) -> Self {
        let mut listening = Self { connection, callbacks: Vec::new(), closes: false };
        // SAFETY: the signatures are those that libvirt documents for each event, on which it casts the pointer back.
        unsafe {
            type Generic = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);
            type Detailed = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void);
            type Alias = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *const c_char, *mut c_void);
            let detailed = |callback: Detailed| std::mem::transmute::<Detailed, Generic>(callback);
            let alias = |callback: Alias| std::mem::transmute::<Alias, Generic>(callback);
            let screen = std::mem::transmute::<ScreenCallback, Generic>(on_screen);
            let metadata = std::mem::transmute::<MetadataCallback, Generic>(on_metadata);
            for (event, callback) in [
                (sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, detailed(on_lifecycle)),
                (sys::VIR_DOMAIN_EVENT_ID_REBOOT, on_reboot as Generic),
                (sys::VIR_DOMAIN_EVENT_ID_GRAPHICS, screen),
                (sys::VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, detailed(on_agent)),
                (sys::VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, metadata),
                (sys::VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, alias(on_added)),
                (sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, alias(on_removed)),
                (sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, alias(on_removal_failed)),
            ] {
                listening.register(event, callback, sink);
            }
            let opaque = boxed(closed);
            let connection = listening.connection.as_ptr();
            let free = free::<Closed>;
            listening.closes =
                sys::virConnectRegisterCloseCallback(connection, Some(on_close), opaque, Some(free)) == 0;
            if !listening.closes {
                free(opaque);
            }
        }
        listening
    }

    /// # Safety
    /// `callback` is of the signature that `event` has.
    unsafe fn register(
        &mut self,
        event: sys::virDomainEventID,
        callback: unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void),
        sink: &Sink,
    ) {
        let opaque = boxed(sink);
        // SAFETY: the connection lives; libvirt frees `opaque` with `free` when the callback goes.
        let id = unsafe {
            sys::virConnectDomainEventRegisterAny(
                self.connection.as_ptr(),
                ptr::null_mut(),
                event as c_int,
                Some(callback),
                opaque,
                Some(free::<Sink>),
            )
        };
        if id < 0 {
            tracing::debug!("libvirt offers no event {event}: {}", Error::last_error());
            // SAFETY: libvirt took nothing, so it is still ours.
            unsafe { free::<Sink>(opaque) };
        } else {
            self.callbacks.push(id);
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // On a dead connection these fail towards the daemon, and still forget the callbacks here.
        for id in self.callbacks.drain(..) {
            // SAFETY: the connection lives as long as `self`.
            unsafe { sys::virConnectDomainEventDeregisterAny(self.connection.as_ptr(), id) };
        }
        if self.closes {
            // SAFETY: as above.
            unsafe { sys::virConnectUnregisterCloseCallback(self.connection.as_ptr(), Some(on_close)) };
        }
    }
}

fn boxed<T: Clone>(told: &T) -> *mut c_void {
    Box::into_raw(Box::new(told.clone())).cast()
}

/// # Safety
/// `opaque` was made by `boxed` of this type, and nobody has it any more.
unsafe extern "C" fn free<T>(opaque: *mut c_void) {
    // SAFETY: as above.
    drop(unsafe { Box::from_raw(opaque.cast::<T>()) });
}

/// # Safety
/// `text` is null or a C string.
unsafe fn text(text: *const c_char) -> String {
    // SAFETY: as above.
    if text.is_null() { String::new() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned() }
}

/// # Safety
/// As libvirt calls a callback: `domain` is valid during the call, `opaque` was made by `boxed`.
unsafe fn tell(domain: sys::virDomainPtr, opaque: *mut c_void, what: What) {
    let mut uuid = [0_u8; 16];
    // SAFETY: accessors of a valid domain that need no connection; the buffer is VIR_UUID_BUFLEN long.
    let (name, run) = unsafe {
        if sys::virDomainGetUUID(domain, uuid.as_mut_ptr()) != 0 {
            return;
        }
        (text(sys::virDomainGetName(domain)), sys::virDomainGetID(domain))
    };
    let event = DomainEvent {
        uuid: DomainUuid::new(Uuid::from_bytes(uuid)),
        name,
        run: Some(run).filter(|run| *run != u32::MAX),
        what,
    };
    // SAFETY: see above; it is borrowed only.
    let sink = unsafe { &*opaque.cast::<Sink>() };
    sink(event);
}

unsafe extern "C" fn on_close(_: sys::virConnectPtr, _reason: c_int, opaque: *mut c_void) {
    // SAFETY: made by `boxed`; it is borrowed only.
    let closed = unsafe { &*opaque.cast::<Closed>() };
    closed();
}

unsafe extern "C" fn on_lifecycle(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    _detail: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: called by libvirt.
    unsafe { tell(domain, opaque, What::Lifecycle(event as u32)) };
}

unsafe extern "C" fn on_reboot(_: sys::virConnectPtr, domain: sys::virDomainPtr, opaque: *mut c_void) {
    // SAFETY: called by libvirt.
    unsafe { tell(domain, opaque, What::Reboot) };
}

unsafe extern "C" fn on_agent(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    state: c_int,
    _reason: c_int,
    opaque: *mut c_void,
) {
    let connected = state as u32 == sys::VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED;
    // SAFETY: called by libvirt.
    unsafe { tell(domain, opaque, What::Agent(connected)) };
}

unsafe extern "C" fn on_added(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    alias: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: called by libvirt.
    unsafe { tell(domain, opaque, What::Added(text(alias))) };
}

unsafe extern "C" fn on_removed(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    alias: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: called by libvirt.
    unsafe { tell(domain, opaque, What::Removed(text(alias))) };
}

unsafe extern "C" fn on_removal_failed(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    alias: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: called by libvirt.
    unsafe { tell(domain, opaque, What::RemovalFailed(text(alias))) };
}

type MetadataCallback = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, *const c_char, *mut c_void);

unsafe extern "C" fn on_metadata(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    _kind: c_int,
    uri: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: called by libvirt.
    unsafe {
        if text(uri) == crate::host::desktop_xml::NAMESPACE {
            tell(domain, opaque, What::Metadata);
        }
    }
}

type ScreenCallback = unsafe extern "C" fn(
    sys::virConnectPtr,
    sys::virDomainPtr,
    c_int,
    *const sys::virDomainEventGraphicsAddress,
    *const sys::virDomainEventGraphicsAddress,
    *const c_char,
    *const sys::virDomainEventGraphicsSubject,
    *mut c_void,
);

unsafe extern "C" fn on_screen(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    phase: c_int,
    _local: *const sys::virDomainEventGraphicsAddress,
    remote: *const sys::virDomainEventGraphicsAddress,
    _auth_scheme: *const c_char,
    _subject: *const sys::virDomainEventGraphicsSubject,
    opaque: *mut c_void,
) {
    let phase = match phase as u32 {
        sys::VIR_DOMAIN_EVENT_GRAPHICS_CONNECT => Phase::Connected,
        sys::VIR_DOMAIN_EVENT_GRAPHICS_INITIALIZE => Phase::LetIn,
        _ => Phase::Gone,
    };
    // SAFETY: called by libvirt; the address is null or valid during the call.
    unsafe {
        let (node, service) =
            remote.as_ref().map(|remote| (text(remote.node), text(remote.service))).unwrap_or_default();
        tell(domain, opaque, What::Screen(phase, client(&node, &service)));
    }
}

fn client(node: &str, service: &str) -> Client {
    match (node.parse::<IpAddr>(), service.parse()) {
        (Ok(address), Ok(port)) => Client::Tcp(SocketAddr::new(address.to_canonical(), port)),
        _ => Client::Local(format!("{node}:{service}")),
    }
}

/// `virDomainState` and its reason. virt's own takes a failed call for a state.
pub(super) fn state(domain: &Domain) -> Result<(u32, u32), Error> {
    let (mut state, mut reason): (c_int, c_int) = (0, 0);
    // SAFETY: the domain lives; both are filled in by libvirt.
    match unsafe { sys::virDomainGetState(domain.as_ptr(), &raw mut state, &raw mut reason, 0) } {
        0 => Ok((state as u32, reason as u32)),
        _ => Err(Error::last_error()),
    }
}

/// Since when each user of a guest is logged in, by its agent's word; none where it does not say. Blocks until the agent answers, or
/// as long as [`set_agent_timeout`] allowed.
pub(super) fn users(domain: &Domain) -> Result<Vec<Option<Time>>, Error> {
    let mut params: sys::virTypedParameterPtr = ptr::null_mut();
    let mut n: c_int = 0;
    // SAFETY: both are filled in by libvirt.
    let rc = unsafe {
        sys::virDomainGetGuestInfo(domain.as_ptr(), sys::VIR_DOMAIN_GUEST_INFO_USERS, &raw mut params, &raw mut n, 0)
    };
    if rc < 0 {
        return Err(Error::last_error());
    }
    let mut count = 0;
    let mut since = Vec::new();
    for at in 0..usize::try_from(n).unwrap_or(0) {
        // SAFETY: libvirt says that there are `n`, with names that end in 0; the union is read as its type says.
        let (name, value) = unsafe {
            let param = &*params.add(at);
            let value = match param.type_ as u32 {
                sys::VIR_TYPED_PARAM_UINT => Some(u64::from(param.value.ui)),
                sys::VIR_TYPED_PARAM_ULLONG => Some(param.value.ul),
                _ => None,
            };
            (text(param.field.as_ptr()), value)
        };
        if let (Some(_), Some(ms)) = (name.strip_suffix(".login-time"), value) {
            since.push(i64::try_from(ms / 1000).ok().filter(|seconds| *seconds > 0).map(Time::from_unix));
        } else if let ("user.count", Some(n)) = (name.as_str(), value) {
            count = usize::try_from(n).unwrap_or(0);
        }
    }
    // SAFETY: libvirt gave it, and nothing refers to it any more.
    unsafe { sys::virTypedParamsFree(params, n) };
    since.resize(count.max(since.len()).min(1000), None);
    Ok(since)
}

/// How many seconds a command to a domain's guest agent may take from now on; none: libvirt's default, for ever.
pub(super) fn set_agent_timeout(domain: &Domain, seconds: Option<u16>) -> Result<(), Error> {
    let timeout = seconds.map_or(sys::VIR_DOMAIN_AGENT_RESPONSE_TIMEOUT_BLOCK, c_int::from);
    // SAFETY: the domain lives.
    match unsafe { sys::virDomainAgentSetResponseTimeout(domain.as_ptr(), timeout, 0) } {
        0 => Ok(()),
        _ => Err(Error::last_error()),
    }
}

/// Takes a device out of a definition, or asks a guest to let it go; never waits for the guest.
pub(super) fn detach_alias(domain: &Domain, alias: &str, flags: u32) -> Result<(), Error> {
    let alias = CString::new(alias)?;
    // SAFETY: the domain lives, and the text ends in 0.
    match unsafe { sys::virDomainDetachDeviceAlias(domain.as_ptr(), alias.as_ptr(), flags) } {
        0 => Ok(()),
        _ => Err(Error::last_error()),
    }
}
