//! What the loop tells the history, and how it is written. Every record can be written twice with the effect of once.

use headstart_core::hint::{Hint, Kind};
use headstart_core::id::{DesktopName, DomainUuid, GpuId, ProfileName, UserName};
use headstart_core::plan::Standing;
use headstart_core::request::Preallocation;
use headstart_core::unit::{FramebufferMib, Probability, Span, Time};
use jiff::tz::Offset;
use rusqlite::{Connection, OptionalExtension, params};

use super::names::Names;

/// Who said that a session began. The numbers are on disk: add, never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A trace or a `wtmp`.
    Import = 0,
    /// A broker, over D-Bus.
    Broker = 1,
    /// The guest agent's list of users.
    GuestAgent = 2,
    /// A graphics client of libvirt.
    Graphics = 3,
    /// A simulated login.
    Simulated = 4,
}

/// What became of a reservation. The numbers are on disk: add, never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Still held.
    Open = 0,
    /// The user came and the device was ready.
    Used = 1,
    /// The user came while the device was being made ready.
    Late = 2,
    /// The user did not come.
    Wasted = 3,
    /// It had to give way to a desktop of higher priority.
    Evicted = 4,
    /// It could not be made ready.
    Failed = 5,
    /// Somebody released it or took the desktop out of management.
    Released = 6,
}

/// Of a pre-allocation flag. The numbers are on disk: add, never change; retention knows that of `Decline`.
fn number(preallocation: Preallocation) -> i64 {
    match preallocation {
        Preallocation::Accept => 0,
        Preallocation::Require => 1,
        Preallocation::Decline => 2,
    }
}

/// Of a kind of hint. The numbers are on disk: add, never change.
pub(super) fn kind_number(kind: Kind) -> i64 {
    match kind {
        Kind::Badge => 1,
        Kind::Vpn => 2,
        Kind::SignIn => 3,
        Kind::ThinClient => 4,
        Kind::ColleagueBooking => 5,
        Kind::Leave => 6,
        Kind::Holiday => 7,
        Kind::Maintenance => 8,
        Kind::Shift => 9,
        Kind::Booking => 10,
        Kind::Hours => 11,
    }
}

/// The pre-allocation flag with this number.
pub(super) fn preallocation(n: i64) -> Preallocation {
    let all = [Preallocation::Accept, Preallocation::Require, Preallocation::Decline];
    all.into_iter().find(|it| number(*it) == n).unwrap_or_default()
}

impl Source {
    pub(super) fn from_number(n: i64) -> Self {
        [Self::Import, Self::Broker, Self::GuestAgent, Self::Graphics, Self::Simulated]
            .into_iter()
            .find(|source| *source as i64 == n)
            .unwrap_or(Self::Import)
    }
}

impl Outcome {
    /// `used`, `wasted`, ...
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Used => "used",
            Self::Late => "late",
            Self::Wasted => "wasted",
            Self::Evicted => "evicted",
            Self::Failed => "failed",
            Self::Released => "released",
        }
    }

    pub(super) fn from_number(n: i64) -> Self {
        [Self::Open, Self::Used, Self::Late, Self::Wasted, Self::Evicted, Self::Failed, Self::Released]
            .into_iter()
            .find(|outcome| *outcome as i64 == n)
            .unwrap_or(Self::Released)
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {
    /// A user came. A second record of the same desktop and start only adds the user, if the first had none.
    SessionStarted {
        /// Where.
        desktop: DesktopName,
        /// Who, if it is known.
        user: Option<UserName>,
        /// When.
        at: Time,
        /// Offset from UTC of the user's wall clock.
        offset: Option<Offset>,
        /// Who says so.
        source: Source,
    },
    /// The user went: ends every open session of the desktop that began before.
    SessionEnded {
        /// Where.
        desktop: DesktopName,
        /// When.
        at: Time,
    },
    /// A vGPU is being attached ahead of a login.
    ReservationStarted {
        /// For which desktop.
        desktop: DesktopName,
        /// From which PF.
        gpu: GpuId,
        /// Which profile.
        profile: ProfileName,
        /// When.
        at: Time,
        /// The forecast that decided it.
        confidence: Probability,
    },
    /// A reservation ended: every open one of the desktop that began before.
    ReservationEnded {
        /// Of which desktop.
        desktop: DesktopName,
        /// When.
        at: Time,
        /// How.
        outcome: Outcome,
    },
    /// How long it took to make a desktop ready, from the first step on.
    Prepared {
        /// Which desktop.
        desktop: DesktopName,
        /// When it was ready.
        at: Time,
        /// How long.
        took: Span,
    },
    /// How busy a desktop's vGPU was. A second sample of the same desktop and second replaces the first.
    Utilisation {
        /// Whose vGPU.
        desktop: DesktopName,
        /// When.
        at: Time,
        /// Graphics and compute engines, percent.
        gpu: u8,
        /// Memory bandwidth, percent.
        memory: u8,
        /// Encoder, percent.
        encoder: u8,
        /// Decoder, percent.
        decoder: u8,
        /// Framebuffer in use.
        framebuffer: FramebufferMib,
    },
    /// Somebody asked for a desktop, and that stands; replaces what was asked before.
    Wished {
        /// For which domain.
        domain: DomainUuid,
        /// What is asked, and since when.
        standing: Standing,
    },
    /// Nothing is asked for a desktop any more.
    WishEnded {
        /// For which domain.
        domain: DomainUuid,
    },
    /// Something that was told of somebody's coming. Told twice it is one.
    Told {
        /// Whose desktop.
        desktop: DesktopName,
        /// What.
        hint: Hint,
        /// Whether a calendar says so, which may take it back.
        calendar: bool,
    },
    /// What was decided, and why.
    Decision {
        /// When.
        at: Time,
        /// For which desktop; none: for the host.
        desktop: Option<DesktopName>,
        /// One phrase.
        what: String,
        /// One sentence.
        why: String,
    },
}

/// Writes one record; the caller holds the transaction.
pub(super) fn write(connection: &Connection, names: &mut Names, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::SessionStarted { desktop, user, at, offset, source } => {
            let desktop = names.id(connection, desktop.as_str())?;
            let user = user.as_ref().map_or(Ok(0), |user| names.id(connection, user.as_str()))?;
            start_session(connection, desktop, user, *at, *offset, *source)
        }
        Record::SessionEnded { desktop, at } => {
            let desktop = names.id(connection, desktop.as_str())?;
            connection
                .prepare_cached(
                    "UPDATE OR REPLACE session SET length = ?2 - start
                     WHERE desktop = ?1 AND length < 0 AND source <> 0 AND start <= ?2",
                )?
                .execute(params![desktop, at.unix()])
                .map(drop)
        }
        Record::ReservationStarted { desktop, gpu, profile, at, confidence } => {
            let desktop = names.id(connection, desktop.as_str())?;
            let gpu = names.id(connection, &gpu.to_string())?;
            let profile = names.id(connection, profile.as_str())?;
            connection
                .prepare_cached(
                    "INSERT INTO reservation (start, desktop, gpu, profile, length, confidence, outcome)
                     VALUES (?1, ?2, ?3, ?4, -1, ?5, 0) ON CONFLICT DO NOTHING",
                )?
                .execute(params![at.unix(), desktop, gpu, profile, confidence.get()])
                .map(drop)
        }
        Record::ReservationEnded { desktop, at, outcome } => {
            let desktop = names.id(connection, desktop.as_str())?;
            connection
                .prepare_cached(
                    "UPDATE reservation SET length = ?2 - start, outcome = ?3
                     WHERE desktop = ?1 AND length < 0 AND start <= ?2",
                )?
                .execute(params![desktop, at.unix(), *outcome as i64])
                .map(drop)
        }
        Record::Prepared { desktop, at, took } => {
            let desktop = names.id(connection, desktop.as_str())?;
            connection
                .prepare_cached("INSERT OR REPLACE INTO preparation VALUES (?1, ?2, ?3)")?
                .execute(params![at.unix(), desktop, took.as_seconds()])
                .map(drop)
        }
        Record::Utilisation { desktop, at, gpu, memory, encoder, decoder, framebuffer } => {
            let desktop = names.id(connection, desktop.as_str())?;
            connection
                .prepare_cached("INSERT OR REPLACE INTO utilisation VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
                .execute(params![at.unix(), desktop, gpu, memory, encoder, decoder, framebuffer.get()])
                .map(drop)
        }
        Record::Wished { domain, standing } => {
            let (wish, since) = (&standing.wish, standing.since);
            let profile = wish.profile.as_ref().map(ProfileName::as_str);
            connection
                .prepare_cached("INSERT OR REPLACE INTO wish VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![domain.to_string(), number(wish.preallocation), profile, since.unix()])
                .map(drop)
        }
        Record::WishEnded { domain } => {
            connection.prepare_cached("DELETE FROM wish WHERE domain = ?1")?.execute([domain.to_string()]).map(drop)
        }
        Record::Told { desktop, hint, calendar } => {
            let desktop = names.id(connection, desktop.as_str())?;
            let Hint { told, kind, from, until } = *hint;
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO hint (due, desktop, kind, begins, told, ends, calendar)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    hint.due().unix(),
                    desktop,
                    kind_number(kind),
                    from.unix(),
                    told.unix(),
                    until.unix(),
                    calendar
                ])
                .map(drop)
        }
        Record::Decision { at, desktop, what, why } => {
            let desktop = desktop.as_ref().map_or(Ok(0), |desktop| names.id(connection, desktop.as_str()))?;
            connection
                .prepare_cached("INSERT INTO decision (time, desktop, what, why) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![at.unix(), desktop, what, why])
                .map(drop)
        }
    }
}

fn start_session(
    connection: &Connection,
    desktop: i64,
    user: i64,
    at: Time,
    offset: Option<Offset>,
    source: Source,
) -> rusqlite::Result<()> {
    let known: Option<i64> = connection
        .prepare_cached("SELECT user FROM session WHERE start = ?1 AND desktop = ?2 AND source <> 0")?
        .query_row(params![at.unix(), desktop], |row| row.get(0))
        .optional()?;
    match known {
        None => connection
            .prepare_cached(
                "INSERT OR REPLACE INTO session (start, desktop, user, length, offset, source)
                 VALUES (?1, ?2, ?3, -1, ?4, ?5)",
            )?
            .execute(params![at.unix(), desktop, user, offset.map(Offset::seconds), source as i64])
            .map(drop),
        Some(0) if user != 0 => connection
            .prepare_cached(
                "UPDATE OR IGNORE session SET user = ?3
                 WHERE start = ?1 AND desktop = ?2 AND user = 0 AND source <> 0",
            )?
            .execute(params![at.unix(), desktop, user])
            .map(drop),
        Some(_) => Ok(()),
    }
}
