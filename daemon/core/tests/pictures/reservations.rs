//! Reservations: made, kept, and given back.

use expect_test::expect;

use super::{check, check_rounds};

#[test]
fn a_cold_reservation_is_created_attached_and_started() {
    check_rounds(
        r"
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop vm1 cold A-4Q off p=40%
        ",
        &expect![[r"
            vm1: reserved -> 3b A-4Q
            round 1
            * create mdev:vm1 A-4Q on 3b
            round 2
            * attach mdev:vm1 to vm1
            round 3
            * start vm1
            vm1: reserved -> 3b A-4Q
        "]],
    );
}

#[test]
fn a_vf_is_given_a_type() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop vm1 cold A-4Q off p=40%
        ",
        &expect![[r"
            vm1: reserved -> 3b A-4Q
            round 1
            * set 3b.1 A-4Q
            round 2
            * attach 3b.1 to vm1
            round 3
            * start vm1
            vm1: reserved -> 3b A-4Q
        "]],
    );
}

#[test]
fn a_live_desktop_is_plugged_while_it_runs() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop vm1 live A-4Q running p=40%
        ",
        &expect![[r"
            vm1: reserved -> 3b A-4Q
            round 1
            * set 3b.1 A-4Q
            round 2
            * attach 3b.1 to vm1 live
            vm1: reserved -> 3b A-4Q
        "]],
    );
}

#[test]
fn after_the_grace_it_is_shut_down_and_everything_goes_back() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q open=vm1
        desktop vm1 cold A-4Q running p=1% has=3b.1 held=60m left=11m
        ",
        &expect![[r"
            vm1: below-release, shut down
            round 1
            * shut down vm1
            round 2
            * detach 3b.1 from vm1
            round 3
            * clear 3b.1 A-4Q
            vm1: below-take
        "]],
    );
}

#[test]
fn within_the_grace_all_stays() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q open=vm1
        desktop vm1 cold A-4Q running p=1% has=3b.1 held=60m left=9m
        ",
        &expect![[r"
            vm1: grace -> 3b A-4Q
        "]],
    );
}

#[test]
fn a_live_device_is_unplugged_and_its_desktop_runs_on() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q open=vm1
        desktop vm1 live A-4Q running p=1% has=3b.1 held=60m left=11m
        ",
        &expect![[r"
            vm1: below-release
            round 1
            * detach 3b.1 from vm1 live
            round 2
            * clear 3b.1 A-4Q
            vm1: below-take
        "]],
    );
}

#[test]
fn a_guest_that_was_asked_is_not_asked_again() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q open=vm1
        desktop vm1 live A-4Q running p=1% detaching=3b.1 held=60m left=11m
        ",
        &expect![[r"
            vm1: unplug-pending
        "]],
    );
}

#[test]
fn a_guest_that_refused_is_shut_down() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q open=vm1
        desktop vm1 live A-4Q running p=1% refused=3b.1 held=60m left=11m
        ",
        &expect![[r"
            vm1: unplug-pending, shut down
            round 1
            * shut down vm1
            round 2
            * detach 3b.1 from vm1
            round 3
            * clear 3b.1 A-4Q
            vm1: below-take
        "]],
    );
}

#[test]
fn a_guest_that_refused_keeps_its_room_where_desktops_are_not_shut_down() {
    check(
        r"
        policy keep-running
        gpu 3b vfio-variant equal-size 8192 vfs=8
          A-8Q 8192 x1
          + 3b.1 A-8Q open=vm1
        desktop vm1 live A-8Q running p=1% refused=3b.1 held=60m left=11m
        desktop vm2 cold A-8Q off p=50%
        ",
        &expect![[r"
            vm1: unplug-pending
            vm2: no-capacity
        "]],
    );
}

#[test]
fn the_minimum_hold_keeps_what_the_forecast_dropped() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q
          + 3b.2 A-4Q
        desktop young cold A-4Q off p=1% has=3b.1 held=9m
        desktop old cold A-4Q off p=1% has=3b.2 held=11m
        ",
        &expect![[r"
            old: below-release
            young: minimum-hold -> 3b A-4Q
            round 1
            * start young
            * detach 3b.2 from old
            round 2
            * clear 3b.2 A-4Q
            old: below-take
            young: minimum-hold -> 3b A-4Q
        "]],
    );
}

#[test]
fn between_the_thresholds_who_has_one_keeps_it_and_who_has_none_gets_none() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q
        desktop has cold A-4Q off p=2.5% has=3b.1 held=60m
        desktop none cold A-4Q off p=2.5%
        ",
        &expect![[r"
            has: reserved -> 3b A-4Q
            none: below-take
            round 1
            * start has
            has: reserved -> 3b A-4Q
            none: below-take
        "]],
    );
}

#[test]
fn nothing_is_done_ahead_on_request_or_where_it_was_declined() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop r request A-4Q off p=90%
        desktop d cold A-4Q off p=90% decline=90m
        desktop old cold A-4Q off p=1% accept=31m
        ",
        &expect![[r"
            d: declined
            old: below-take
            r: nothing-ahead
        "]],
    );
}

#[test]
fn what_was_asked_for_is_made() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop r request A-4Q off p=0% accept=1m
        desktop d cold A-4Q off p=0% decline=1m
        desktop other cold A-4Q off p=0% asks=A-8Q
        ",
        &expect![[r"
            d: waiting -> 3b A-4Q
            other: no-capacity
            r: waiting -> 3b A-4Q
            round 1
            * set 3b.1 A-4Q
            round 2
            * attach 3b.1 to d
            round 3
            * start d
            * set 3b.2 A-4Q
            round 4
            * attach 3b.2 to r
            round 5
            * start r
            d: waiting -> 3b A-4Q
            other: no-capacity
            r: waiting -> 3b A-4Q
        "]],
    );
}

#[test]
fn a_wish_for_another_profile_changes_the_device() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q open=vm1
        desktop vm1 cold A-4Q running p=40% has=3b.1 held=60m asks=A-8Q
        ",
        &expect![[r"
            vm1: waiting -> 3b A-8Q, shut down
            round 1
            * shut down vm1
            round 2
            * detach 3b.1 from vm1
            round 3
            * clear 3b.1 A-4Q
            round 4
            * set 3b.1 A-8Q
            round 5
            * attach 3b.1 to vm1
            round 6
            * start vm1
            vm1: waiting -> 3b A-8Q
        "]],
    );
}
