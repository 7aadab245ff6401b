//! What the laws found on arbitrary hosts, as small as it gets.

use expect_test::expect;

use super::{check, check_rounds};

#[test]
fn in_the_dark_no_device_makes_room() {
    check(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=1
          A-4Q 4096 x2
          + 3b.1 A-4Q open=idle
        desktop idle live A-4Q running p=1% has=3b.1 held=60m
        desktop vm1 cold A-4Q off waiting=1m
        gap domains
        ",
        &expect![[r"
            idle: below-release
            vm1: no-capacity
        "]],
    );
}

#[test]
fn a_vf_leaves_its_desktop_before_the_vfs_come() {
    check_rounds(
        r"
        gpu c1 sriov sriov:2 32768
          V-1/2 16384 x2
        desktop vm1 cold V-1/2 off waiting=1m has=c1.1
        ",
        &expect![[r"
            vm1: waiting -> c1 V-1/2
            c1: 2 VFs
            round 1
            * detach c1.1 from vm1
            round 2
            * enable 2 VFs on c1
            round 3
            * attach c1.1 to vm1
            round 4
            * start vm1
            vm1: arriving -> c1 V-1/2
        "]],
    );
}

#[test]
fn an_mdev_that_a_stranger_names_is_not_made_for_him() {
    check(
        r"
        gpu 3b mdev equal-size 8192
          A-4Q 4096 x2
        desktop vm1 cold A-4Q off p=60%
        domain copy off foreign=mdev:vm1
        ",
        &expect![[r"
            vm1: unknown, hands off
        "]],
    );
}

#[test]
fn an_mdev_of_which_nothing_is_known_leaves_no_room_elsewhere() {
    check(
        r"
        gpu 3b mdev equal-size 8192
          A-4Q 4096 x2
          + mdev:vm1 ?
        gpu 86 mdev equal-size 8192
          A-4Q 4096 x2
        desktop vm1 cold A-4Q off waiting=1m
        ",
        &expect![[r"
            vm1: unknown, hands off
        "]],
    );
}

#[test]
fn a_vf_that_a_desktop_names_without_our_mark_is_not_free_for_it() {
    check(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=1
          A-4Q 4096 x2
        desktop vm1 cold A-4Q off p=60% foreign=3b.1
        ",
        &expect![[r"
            vm1: no-capacity
        "]],
    );
}

#[test]
fn an_unknown_device_that_leaves_its_desktop_makes_no_room() {
    check_rounds(
        r"
        gpu c1 sriov fixed-vfs 16384 vfs=1
          V-1/1 16384 x1
          + c1.1 ?
        desktop vm1 cold V-1/1 off p=60% has=c1.1 held=60m
        ",
        &expect![[r"
            vm1: no-capacity
            round 1
            * detach c1.1 from vm1
            vm1: no-capacity
        "]],
    );
}

#[test]
fn a_strangers_device_that_leaves_a_desktop_makes_no_room() {
    check_rounds(
        r"
        gpu 3b mdev equal-size 4096
          A-4Q 4096 x1
          B-4Q 4096 x1
          + alien:x B-4Q
        desktop vm1 cold A-4Q off p=60% has=alien:x held=60m
        ",
        &expect![[r"
            vm1: no-capacity
            round 1
            * detach 2b6f2e6a-2137-5109-bff5-8d96068d0f8c from vm1
            vm1: no-capacity
        "]],
    );
}

#[test]
fn a_cold_desktop_that_lets_go_while_it_runs_gets_nothing_until_it_is_off() {
    check(
        r"
        gpu 3b vfio-variant equal-size 8192 vfs=2
          A-4Q 4096 x2
          + 3b.1 A-4Q open=vm1
        desktop vm1 cold A-4Q running p=60% detaching=3b.1 held=60m
        ",
        &expect![[r"
            vm1: waits-for-domain-off, shut down
        "]],
    );
}

#[test]
fn whoever_was_served_first_moves_nobody_who_ranks_higher() {
    check_rounds(
        r"
        gpu 3b mdev equal-size 8192
          A-4Q 4096 x2
        gpu 86 mdev equal-size 12288
          A-4Q 4096 x3
          + alien:x A-4Q
        desktop high1 cold A-4Q off p=60% prio=1
        desktop high2 cold A-4Q off p=60% prio=1
        desktop low cold A-4Q off waiting=1m
        ",
        &expect![[r"
            high1: reserved -> 86 A-4Q
            high2: reserved -> 86 A-4Q
            low: waiting -> 3b A-4Q
            round 1
            * create mdev:high1 A-4Q on 86
            * create mdev:low A-4Q on 3b
            round 2
            * attach mdev:high1 to high1
            * attach mdev:low to low
            round 3
            * start low
            * start high1
            * create mdev:high2 A-4Q on 86
            round 4
            * attach mdev:high2 to high2
            round 5
            * start high2
            high1: reserved -> 86 A-4Q
            high2: reserved -> 86 A-4Q
            low: arriving -> 3b A-4Q
        "]],
    );
}

#[test]
fn a_higher_rank_is_served_before_a_lower_one_takes_its_room() {
    check_rounds(
        r"
        gpu 3b mdev equal-size 8192
          A-4Q 4096 x2
          + mdev:victim A-4Q
        gpu 86 mdev equal-size 16384
          B-8Q 8192 x2
        desktop first cold A-4Q,B-8Q off waiting=1m prio=1
        desktop second cold A-4Q off waiting=1m
        desktop victim cold A-4Q off p=30% has=mdev:victim held=60m
        ",
        &expect![[r"
            first: waiting -> 3b A-4Q
            second: waiting -> 3b A-4Q
            victim: outranked
            round 1
            * detach mdev:victim from victim
            round 2
            * remove mdev:victim A-4Q from 3b
            round 3
            * create mdev:first A-4Q on 3b
            round 4
            * attach mdev:first to first
            round 5
            * start first
            * create mdev:second A-4Q on 3b
            round 6
            * attach mdev:second to second
            round 7
            * start second
            first: arriving -> 3b A-4Q
            second: arriving -> 3b A-4Q
            victim: no-capacity
        "]],
    );
}

#[test]
fn whoever_waits_takes_the_profile_that_costs_fewest_others() {
    check(
        r"
        gpu 3b mdev mixed-size:4 16384
          A-4Q 4096 x4 slots=1 at=0,1,2,3
          A-8Q 8192 x2 slots=2 at=0,2
          + mdev:v1 A-4Q at=0
          + mdev:v2 A-4Q at=1
          + mdev:v3 A-4Q at=2
          + mdev:v4 A-4Q at=3
        desktop v1 cold A-4Q off p=10% has=mdev:v1 held=60m
        desktop v2 cold A-4Q off p=20% has=mdev:v2 held=60m
        desktop v3 cold A-4Q off p=30% has=mdev:v3 held=60m
        desktop v4 cold A-4Q off p=40% has=mdev:v4 held=60m
        desktop vm1 cold A-8Q,A-4Q off waiting=1m
        ",
        &expect![[r"
            v1: outranked
            v2: reserved -> 3b A-4Q at 1
            v3: reserved -> 3b A-4Q at 2
            v4: reserved -> 3b A-4Q at 3
            vm1: waiting -> 3b A-4Q at 0
            * start v4
            * start v3
            * start v2
            * detach mdev:v1 from v1
        "]],
    );
}

#[test]
fn an_mdev_is_not_made_on_a_vf_that_a_domain_names() {
    check(
        r"
        gpu 3b mdev equal-size 16384 vfs=2
          A-4Q 4096 x4
          + mdev:idle A-4Q
        desktop idle cold A-4Q off p=10% has=mdev:idle held=60m
        desktop vm1 cold A-4Q off waiting=1m
        domain other off foreign=3b.2
        ",
        &expect![[r"
            idle: outranked
            vm1: waiting -> 3b A-4Q
            * detach mdev:idle from idle
        "]],
    );
}

#[test]
fn a_desktop_does_not_start_with_what_somebody_else_has() {
    check(
        r"
        gpu 3b vfio-variant equal-size 16384 vfs=4
          A-4Q 4096 x4
          + 3b.1 A-4Q open=copy
          + 3b.2 A-4Q open=qemu
        desktop vm1 cold A-4Q off waiting=1m has=3b.1
        desktop vm2 cold A-4Q off waiting=1m has=3b.2
        domain copy running foreign=3b.1
        ",
        &expect![[r"
            vm1: unknown, hands off
            vm2: unknown, hands off
        "]],
    );
}

#[test]
fn the_grace_is_for_the_device_that_the_user_left() {
    check(
        r"
        gpu 3b mdev equal-size 8192
          A-4Q 4096 x2
          + mdev:vm1 A-4Q
        desktop vm1 cold A-4Q off p=60% left=5m held=1m has=mdev:vm1
        ",
        &expect![[r"
            vm1: reserved -> 3b A-4Q
            * start vm1
        "]],
    );
}
