//! People who wait, who are there, and who rank higher.

use expect_test::expect;

use super::{check, check_rounds};

#[test]
fn who_waits_takes_the_room_of_the_least_likely() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-4Q 4096 x2
          + 3b.1 A-4Q
          + 3b.2 A-4Q
        desktop likely cold A-4Q off p=80% has=3b.1 held=60m
        desktop unlikely cold A-4Q off p=2% has=3b.2 held=1m
        desktop user cold A-4Q off waiting=1m
        ",
        &expect![[r"
            likely: reserved -> 3b A-4Q
            unlikely: outranked
            user: waiting -> 3b A-4Q
            round 1
            * start likely
            * detach 3b.2 from unlikely
            round 2
            * attach 3b.2 to user
            round 3
            * start user
            likely: reserved -> 3b A-4Q
            unlikely: below-take
            user: arriving -> 3b A-4Q
        "]],
    );
}

#[test]
fn who_waits_takes_nothing_from_higher_priority_or_from_who_is_logged_in() {
    check(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-4Q 4096 x2
          + 3b.1 A-4Q
          + 3b.2 A-4Q open=busy
        desktop boss cold A-4Q off p=4% prio=1 has=3b.1 held=60m
        desktop busy cold A-4Q running has=3b.2 active=30m
        desktop user cold A-4Q off waiting=1m
        ",
        &expect![[r"
            boss: reserved -> 3b A-4Q
            busy: in-use, hands off
            user: no-capacity
            * start boss
        "]],
    );
}

#[test]
fn higher_priority_waits_for_lower_reservations_in_their_minimum_hold() {
    check(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-4Q 4096 x2
          + 3b.1 A-4Q
          + 3b.2 A-4Q
        desktop young cold A-4Q off p=80% has=3b.1 held=1m
        desktop young2 cold A-4Q off p=80% has=3b.2 held=1m
        desktop boss cold A-4Q off p=10% prio=1
        ",
        &expect![[r"
            boss: no-capacity
            young: reserved -> 3b A-4Q
            young2: reserved -> 3b A-4Q
            * start young2
            * start young
        "]],
    );
}

#[test]
fn a_hardly_likelier_login_does_not_outrank() {
    check(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-4Q 4096 x2
          + 3b.1 A-4Q
          + 3b.2 A-4Q
        desktop a cold A-4Q off p=20% has=3b.1 held=60m
        desktop b cold A-4Q off p=30% has=3b.2 held=60m
        desktop c cold A-4Q off p=20.3%
        ",
        &expect![[r"
            a: reserved -> 3b A-4Q
            b: reserved -> 3b A-4Q
            c: no-capacity
            * start b
            * start a
        "]],
    );
}

#[test]
fn what_is_spare_stays_until_anybody_wants_the_room() {
    let host = r"
        policy keep-spare
        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-4Q 4096 x2
          + 3b.1 A-4Q
          + 3b.2 A-4Q
        desktop chief cold A-4Q off p=1% has=3b.1 held=60m prio=9
        desktop clerk live A-4Q running p=0.5% has=3b.2 held=60m
        ";
    check(
        host,
        &expect![[r"
        chief: spare -> 3b A-4Q, may stay off
        clerk: spare -> 3b A-4Q
    "]],
    );
    check_rounds(
        &format!("{host}\n desktop guest cold A-4Q off p=4%"),
        &expect![[r"
        chief: spare -> 3b A-4Q, may stay off
        clerk: outranked
        guest: reserved -> 3b A-4Q
        round 1
        * detach 3b.2 from clerk live
        round 2
        * attach 3b.2 to guest
        round 3
        * start guest
        chief: spare -> 3b A-4Q, may stay off
        clerk: below-take
        guest: reserved -> 3b A-4Q
    "]],
    );
    check_rounds(
        &format!("{host}\n desktop one cold A-4Q off p=4%\n desktop two cold A-4Q off p=5%"),
        &expect![[r"
        chief: outranked
        clerk: outranked
        one: reserved -> 3b A-4Q
        two: reserved -> 3b A-4Q
        round 1
        * detach 3b.1 from chief
        round 2
        * attach 3b.1 to two
        round 3
        * start two
        * detach 3b.2 from clerk live
        round 4
        * attach 3b.2 to one
        round 5
        * start one
        chief: below-take
        clerk: below-take
        one: reserved -> 3b A-4Q
        two: reserved -> 3b A-4Q
    "]],
    );
}

#[test]
fn a_likelier_login_outranks() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-4Q 4096 x2
          + 3b.1 A-4Q
          + 3b.2 A-4Q
        desktop a cold A-4Q off p=20% has=3b.1 held=60m
        desktop b cold A-4Q off p=30% has=3b.2 held=60m
        desktop c cold A-4Q off p=21%
        ",
        &expect![[r"
            a: outranked
            b: reserved -> 3b A-4Q
            c: reserved -> 3b A-4Q
            round 1
            * start b
            * detach 3b.1 from a
            round 2
            * attach 3b.1 to c
            round 3
            * start c
            a: no-capacity
            b: reserved -> 3b A-4Q
            c: reserved -> 3b A-4Q
        "]],
    );
}

#[test]
fn a_desktop_that_cannot_let_go_is_no_victim() {
    check(
        r"
        policy keep-running

        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-4Q 4096 x2
          + 3b.1 A-4Q open=stuck
          + 3b.2 A-4Q
        desktop stuck cold A-4Q running p=5% has=3b.1 held=60m
        desktop free cold A-4Q off p=10% has=3b.2 held=60m
        desktop user cold A-4Q off waiting=1m
        ",
        &expect![[r"
            free: outranked
            stuck: reserved -> 3b A-4Q
            user: waiting -> 3b A-4Q
            * detach 3b.2 from free
        "]],
    );
}

#[test]
fn who_arrives_at_a_desktop_with_its_device_has_it_started() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-4Q 4096 x2
          + 3b.1 A-4Q
        desktop vm1 cold A-4Q off has=3b.1 held=1m waiting
        ",
        &expect![[r"
            vm1: arriving -> 3b A-4Q
            round 1
            * start vm1
            vm1: arriving -> 3b A-4Q
        "]],
    );
}

#[test]
fn who_works_without_a_device_is_plugged_live_or_waits_until_it_is_off() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-4Q 4096 x2
        desktop live live A-4Q running active=5m
        desktop cold cold A-4Q running active=5m
        ",
        &expect![[r"
            cold: waits-for-domain-off
            live: waiting -> 3b A-4Q
            round 1
            * set 3b.1 A-4Q
            round 2
            * attach 3b.1 to live live
            cold: waits-for-domain-off
            live: in-use, hands off
        "]],
    );
}

#[test]
fn the_pools_members_count_one_by_one() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-4Q 4096 x2
        desktop pool1 cold A-4Q off p=60%
        desktop pool2 cold A-4Q off p=23%
        desktop pool3 cold A-4Q off p=2%
        ",
        &expect![[r"
            pool1: reserved -> 3b A-4Q
            pool2: reserved -> 3b A-4Q
            pool3: below-take
            round 1
            * set 3b.1 A-4Q
            round 2
            * attach 3b.1 to pool1
            round 3
            * start pool1
            * set 3b.2 A-4Q
            round 4
            * attach 3b.2 to pool2
            round 5
            * start pool2
            pool1: reserved -> 3b A-4Q
            pool2: reserved -> 3b A-4Q
            pool3: below-take
        "]],
    );
}
