use expect_test::{Expect, expect};
use headstart_core::desktop::AttachMode;
use headstart_core::unit::Span;

use super::*;
use crate::host::domain_xml::DomainXml;

/// Inside a domain's metadata, as libvirt stores it.
fn stored(metadata: &str) -> DesktopXml {
    let text = format!(
        "<domain type='kvm'><name>a</name><uuid>11111111-2222-3333-4444-555555555555</uuid><metadata>{metadata}</metadata></domain>"
    );
    DomainXml::parse(&text).unwrap().desktop
}

/// The mistakes, a line each.
fn wrong(text: &str, mistakes: &Expect) -> Settings {
    let found = parse(text);
    mistakes.assert_eq(&found.mistakes.join("\n"));
    let settings = found.settings.unwrap_or_default();
    assert!(settings.preallocate == Some(false) || settings == Settings::default(), "nothing is done ahead for it");
    settings
}

#[test]
fn all_settings_are_read() {
    let found = parse(
        "<desktop attach='live' user='ada' priority='5' time-zone='Europe/Berlin' lead-time='10 min' preallocate='yes' \
         missing-gpu='block'><profile>A40-8Q</profile>\n <profile> A40-4Q </profile></desktop>",
    );
    assert_eq!(found.mistakes, [""; 0]);
    let settings = found.settings.unwrap();
    let profiles: Vec<&str> = settings.profiles.as_deref().unwrap().iter().map(ProfileName::as_str).collect();
    assert_eq!(profiles, ["A40-8Q", "A40-4Q"]);
    assert_eq!((settings.attach, settings.priority), (Some(AttachMode::Live), Some(5)));
    assert_eq!((settings.lead, settings.preallocate), (Some(Span::minutes(10)), Some(true)));
    assert_eq!((settings.user.unwrap().as_str(), settings.pool), ("ada", None));
    assert_eq!(settings.missing_gpu, Some(MissingGpu::Block));
    assert_eq!(settings.time_zone.unwrap().iana_name(), Some("Europe/Berlin"));
    assert_eq!(parse("<desktop/>"), DesktopXml { settings: Some(Settings::default()), mistakes: Vec::new() });
}

#[test]
fn what_is_written_is_read_back() {
    for text in [
        "<desktop/>",
        "<desktop attach=\"request\" pool=\"R&amp;D &lt;&quot;3&apos;&gt;\" priority=\"-1000\" time-zone=\"America/New_York\" \
         lead-time=\"1 h 30 min\" preallocate=\"no\" missing-gpu=\"start\"><profile>A&amp;B</profile><profile>C</profile></desktop>",
        "<desktop user=\"Zoë\"><profile>NVIDIA A40-4Q</profile></desktop>",
    ] {
        let found = parse(text);
        assert_eq!(found.mistakes, [""; 0]);
        assert_eq!(write(&found.settings.unwrap()), text);
    }
    assert_eq!(
        write(&parse("<desktop profile='A40-4Q'/>").settings.unwrap()),
        "<desktop><profile>A40-4Q</profile></desktop>"
    );
}

#[test]
fn it_is_found_among_the_metadata_of_others() {
    let found = stored(&format!(
        "<other:info xmlns:other='http://example.org/x'><desktop attach='warm'/></other:info>\
         <headstart:desktop xmlns:headstart='{NAMESPACE}' attach='live'><profile>A</profile></headstart:desktop>"
    ));
    assert_eq!(found.mistakes, [""; 0]);
    assert_eq!(found.settings.unwrap().attach, Some(AttachMode::Live));
    // With another prefix, or the default one, it is the same element.
    for text in [
        format!("<h:desktop xmlns:h='{NAMESPACE}'><h:profile>A</h:profile></h:desktop>"),
        format!("<desktop xmlns='{NAMESPACE}'><profile>A</profile></desktop>"),
    ] {
        assert_eq!(stored(&text).settings.unwrap().profiles.unwrap()[0].as_str(), "A");
        assert_eq!(parse(&text), stored(&text), "as `virsh metadata DOM URI` prints it");
    }
    assert_eq!(stored("<o:desktop xmlns:o='http://example.org/desktop/1' attach='warm'/>"), DesktopXml::default());
    assert_eq!(stored(""), DesktopXml::default());
}

#[test]
fn wrong_values_are_told_with_what_is_allowed() {
    let settings = wrong(
        "<desktop attach='warm' priority='1e3' time-zone='Europe/Atlantis' lead-time='3 h' preallocate='true' missing-gpu='' \
         user='a\u{1f4a9} ' profile=''/>",
        &expect![[r#"
            attribute user: user name "a💩 " is not valid: it begins or ends with a blank
            attribute profile: profile name "" is not valid: it is empty
            attribute attach: expected "cold", "live" or "request", found "warm"
            attribute priority: expected a whole number from -1000 to 1000, found "1e3"
            attribute time-zone: expected a time zone such as "Europe/Berlin", or "system" (tzdata must be installed), found "Europe/Atlantis"
            attribute lead-time: expected a length of time from "0 s" to "2 h", such as "1 h 30 min", found "3 h"
            attribute preallocate: expected "yes" or "no", found "true"
            attribute missing-gpu: expected "start" or "block", found """#]],
    );
    assert_eq!(settings, Settings { preallocate: Some(false), ..Settings::default() });
}

#[test]
fn unknown_things_name_what_was_probably_meant() {
    let settings = wrong(
        "<desktop atach='live' xyzzy='1' priority='5' user='a' pool='b' profile='A'><profile>B</profile><profil>C</profil>\
         <profile><b>D</b></profile><profile>B</profile></desktop>",
        &expect![[r#"
            <headstart:desktop> has the unknown attribute "atach"; did you mean `attach`?
            <headstart:desktop> has the unknown attribute "xyzzy"; known are `attach`, `group`, `hours`, `lead-time`, `missing-gpu`, `pool`, `preallocate`, `presence`, `priority`, `profile`, `time-zone` and `user`
            a desktop belongs to a user or to a pool, not to both: leave one attribute out
            <headstart:desktop> holds the unknown element <profil>: only <profile> is allowed
            <profile> holds an element: only the name of a profile is allowed
            the attribute profile and <profile> say the same thing: leave one out"#]],
    );
    assert_eq!(settings.priority, Some(5), "what is understood counts");
    assert_eq!(settings.profiles.unwrap().len(), 2);
}

#[test]
fn wrong_namespaces_and_second_elements_are_told() {
    let newer = stored("<h:desktop xmlns:h='https://headstart.dev/xmlns/desktop/2' attach='live'/>");
    expect!["metadata <desktop> is of the namespace https://headstart.dev/xmlns/desktop/2, which this version does not know: use https://headstart.dev/xmlns/desktop/1"]
        .assert_eq(&newer.mistakes.join("\n"));
    assert_eq!(newer.settings, None);
    let two = stored(&format!(
        "<h:dsktop xmlns:h='{NAMESPACE}'/><h:desktop xmlns:h='{NAMESPACE}' priority='1'/><h:desktop xmlns:h='{NAMESPACE}'/>"
    ));
    expect![[r"
        metadata <headstart:dsktop> is not read: one <headstart:desktop> is expected
        metadata <headstart:desktop> is not read: one <headstart:desktop> is expected"]]
    .assert_eq(&two.mistakes.join("\n"));
    assert_eq!(two.settings.unwrap().priority, Some(1));
    wrong(
        "<headstart/>",
        &expect!["<headstart> is not <desktop> of the namespace https://headstart.dev/xmlns/desktop/1"],
    );
}

#[test]
fn hostile_elements_are_refused_in_words() {
    wrong(
        "<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]><desktop user='&b;'/>",
        &expect!["it is no XML that is accepted: XML with DTD detected"],
    );
    wrong("<desktop user='&b;'/>", &expect!["it is no XML that is accepted: unknown entity reference 'b' at 1:16"]);
    wrong("<desktop", &expect!["it is no XML that is accepted: the document does not have a root node"]);
    wrong(
        &format!("<desktop user='{}'/>", "a".repeat(70_000)),
        &expect!["<headstart:desktop> is 70018 bytes long and is not read: at most 65536 are allowed"],
    );
    let huge = format!("<h:desktop xmlns:h='{NAMESPACE}' user='{}'/>", "a".repeat(70_000));
    assert_eq!(stored(&huge).mistakes.len(), 1);
    let held = stored(&huge).settings.expect("it stays a desktop, so that its device is taken back");
    assert_eq!(held, Settings { preallocate: Some(false), ..Settings::default() });
    let deep = "<profile>".repeat(3000) + &"</profile>".repeat(3000);
    wrong(
        &format!("<desktop>{deep}</desktop>"),
        &expect!["<profile> holds an element: only the name of a profile is allowed"],
    );
    let many = |n: usize| (0..n).map(|i| format!("<profile>{i}</profile>")).collect::<Vec<_>>().concat();
    let settings =
        wrong(&format!("<desktop>{}</desktop>", many(65)), &expect!["65 profiles are named: at most 64 are allowed"]);
    assert_eq!(settings.profiles.unwrap().len(), 64);
    let found = parse(&format!("<desktop {}/>", (0..1000).map(|i| format!("x{i}='' ")).collect::<Vec<_>>().concat()));
    assert_eq!(found.mistakes.len(), 10, "the rest is told when these are corrected");
    let long = parse(&format!("<desktop attach='{}'/>", "w".repeat(60_000)));
    assert!(long.mistakes[0].len() < 200, "{}", long.mistakes[0]);
}
