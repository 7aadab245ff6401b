//! Objects whose properties are read from the status, written down once: name, type, how to read it, whether a change
//! is signalled. From that come the interface, its introspection, and what changed between two rounds.

use std::collections::HashMap;

use zbus::wire::Variant;

/// Properties that differ, with their new values.
pub(super) type Changes = HashMap<&'static str, Variant<'static>>;

/// Defines an object over a part of the status.
///
/// `[key ...]` makes a property of the key, which never changes. `signalled` is D-Bus' `EmitsChangedSignal`: `"true"`, `"false"` (changes all the time: ask for it) or `"const"`.
macro_rules! object {
    (
        $(#[$($doc:tt)*])*
        $type:ident($key:ty) = $interface:literal, $value:ty, $find:expr;
        $( [key $key_getter:ident $key_name:literal $key_doc:literal] )?
        $( $(#[$($property_doc:tt)*])* $getter:ident $name:literal signalled $signalled:literal: $kind:ty = $read:expr; )*
    ) => {
        $(#[$($doc)*])*
        pub(super) struct $type {
            key: $key,
            shown: tokio::sync::watch::Receiver<std::sync::Arc<crate::status::Status>>,
        }

        impl $type {
            /// The interface.
            pub(super) const INTERFACE: &'static str = $interface;

            /// The object of the part with this key.
            pub(super) fn new(
                key: $key,
                shown: tokio::sync::watch::Receiver<std::sync::Arc<crate::status::Status>>,
            ) -> Self {
                Self { key, shown }
            }

            /// Reads from what is shown now.
            fn read<T>(&self, read: fn(&$value) -> T) -> zbus::fdo::Result<T> {
                let find: for<'a> fn(&'a crate::status::Status, &'a $key) -> Option<&'a $value> = $find;
                let status = self.shown.borrow();
                let gone = || zbus::fdo::Error::UnknownObject("it is gone".to_owned());
                find(&status, &self.key).map(read).ok_or_else(gone)
            }

            /// What to signal when `old` became `new`.
            pub(super) fn changes(old: &$value, new: &$value) -> crate::bus::properties::Changes {
                let mut changes = crate::bus::properties::Changes::new();
                $(
                    if $signalled == "true" {
                        let read: fn(&$value) -> $kind = $read;
                        let value = read(new);
                        if crate::bus::properties::differs(&read(old), &value) {
                            changes.insert($name, value.into());
                        }
                    }
                )*
                changes
            }
        }

        #[zbus::interface(name = $interface)]
        impl $type {
            $(
                #[doc = $key_doc]
                #[zbus(property(emits_changed_signal = "const"), name = $key_name)]
                fn $key_getter(&self) -> String {
                    self.key.to_string()
                }
            )?
            $(
                $(#[$($property_doc)*])*
                #[zbus(property(emits_changed_signal = $signalled), name = $name)]
                fn $getter(&self) -> zbus::fdo::Result<$kind> {
                    self.read($read)
                }
            )*
        }
    };
}
pub(super) use object;

/// Whether a value is news. Numbers are rounded where they are read, so that equality is meant.
pub(super) fn differs<T: PartialEq>(old: &T, new: &T) -> bool {
    old != new
}

/// Seconds since the epoch; 0 stands for none.
pub(super) fn time(time: Option<headstart_core::unit::Time>) -> i64 {
    time.map_or(0, headstart_core::unit::Time::unix)
}

/// Seconds; nothing below 0.
pub(super) fn seconds(span: headstart_core::unit::Span) -> u32 {
    u32::try_from(span.as_seconds().max(0)).unwrap_or(u32::MAX)
}

/// To a thousandth: finer differences are no news, and would be signalled for every desktop in every round.
pub(super) fn probability(p: headstart_core::unit::Probability) -> f64 {
    (p.get() * 1000.0).round() / 1000.0
}

/// The text, or empty.
pub(super) fn text<T: std::fmt::Display>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

/// A count.
pub(super) fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
