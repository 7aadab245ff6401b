//! Strangers, gaps, and what went wrong.

use expect_test::expect;

use super::{check, check_rounds};

#[test]
fn a_strangers_device_is_counted_and_never_touched() {
    check_rounds(
        r"
        gpu 3b mdev equal-size 12288
          A-4Q 4096 x3
          + alien:x A-4Q
          + alien:y A-4Q open=qemu
        domain other running foreign=alien:y
        desktop vm1 cold A-4Q off p=60%
        desktop vm2 cold A-4Q off p=50%
        ",
        &expect![[r"
            vm1: reserved -> 3b A-4Q
            vm2: no-capacity
            round 1
            * create mdev:vm1 A-4Q on 3b
            round 2
            * attach mdev:vm1 to vm1
            round 3
            * start vm1
            vm1: reserved -> 3b A-4Q
            vm2: no-capacity
        "]],
    );
}

#[test]
fn an_idle_device_of_ours_that_nobody_needs_goes() {
    check_rounds(
        r"
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
          A-8Q 8192 x3
          + mdev:vm1 A-4Q
        desktop vm1 cold A-4Q off p=1%
        ",
        &expect![[r"
            vm1: below-take
            round 1
            * remove mdev:vm1 A-4Q from 3b
            vm1: below-take
        "]],
    );
}

#[test]
fn a_device_that_is_open_though_no_domain_names_it_stays() {
    check(
        r"
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
          A-8Q 8192 x3
          + mdev:vm1 A-4Q open=cat
          + mdev:vm2 A-4Q open=?
        desktop vm1 cold A-4Q off p=1%
        desktop vm2 cold A-4Q off p=60%
        ",
        &expect![[r"
            vm1: unknown, hands off
            vm2: unknown, hands off
        "]],
    );
}

#[test]
fn a_vf_that_a_stranger_names_is_not_given_away() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=2
          A-4Q 4096 x6
          A-8Q 8192 x3
        domain other off foreign=3b.1
        desktop vm1 cold A-4Q off p=60%
        desktop vm2 cold A-4Q off p=50%
        ",
        &expect![[r"
            vm1: reserved -> 3b A-4Q
            vm2: no-capacity
            round 1
            * set 3b.2 A-4Q
            round 2
            * attach 3b.2 to vm1
            round 3
            * start vm1
            vm1: reserved -> 3b A-4Q
            vm2: no-capacity
        "]],
    );
}

#[test]
fn a_desktop_with_somebody_elses_device_is_left_alone() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q
        desktop vm1 cold A-4Q off p=60% foreign=3b.1
        ",
        &expect![[r"
            vm1: foreign-device, hands off
        "]],
    );
}

#[test]
fn without_the_list_of_domains_nothing_is_taken_away() {
    check(
        r"
        gap domains

        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q
          + 3b.2 A-4Q
        desktop vm1 cold A-4Q off p=1% has=3b.1 held=60m
        desktop vm2 cold A-4Q running p=1% has=3b.2 held=60m left=20m
        desktop vm3 cold A-4Q off p=60%
        ",
        &expect![[r"
            vm1: below-release
            vm2: below-release, shut down
            vm3: reserved -> 3b A-4Q
        "]],
    );
}

#[test]
fn a_login_that_could_not_be_read_counts_as_one() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q open=vm1
        desktop vm1 cold A-4Q running p=1% has=3b.1 held=60m login=?
        ",
        &expect![[r"
            vm1: unknown, hands off
        "]],
    );
}

#[test]
fn a_power_state_that_could_not_be_read() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q open=vm1
        desktop vm1 cold A-4Q ? p=1% has=3b.1 held=60m
        ",
        &expect![[r"
            vm1: unknown, hands off
        "]],
    );
}

#[test]
fn a_gpu_that_could_not_be_read_is_left_alone() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8 state=unknown
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q
          + 3b.2 A-4Q
        desktop vm1 cold A-4Q off p=1% has=3b.1 held=60m
        desktop vm2 cold A-4Q off p=60%
        ",
        &expect![[r"
            vm1: unknown, hands off
            vm2: no-capacity
        "]],
    );
}

#[test]
fn a_gpu_that_was_not_seen_keeps_its_devices_in_their_desktops() {
    check(
        r"
        gap 3b
        gpu 5e mdev equal-size 24576
          A-4Q 4096 x6
        desktop vm1 cold A-4Q off p=60% has=mdev:vm1 held=60m
        desktop vm2 cold A-4Q off p=60%
        ",
        &expect![[r"
            vm1: unknown, hands off
            vm2: reserved -> 5e A-4Q
        "]],
    );
}

#[test]
fn a_gpu_that_is_not_ready_takes_nothing_new() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8 state=not-ready
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop vm1 cold A-4Q off p=60%
        ",
        &expect![[r"
            vm1: no-capacity
        "]],
    );
}

#[test]
fn a_gpu_in_quarantine_takes_nothing_new() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8 quarantine=EIO
          A-4Q 4096 x6
          A-8Q 8192 x3

        gpu 5e vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop vm1 cold A-4Q off p=60%
        ",
        &expect![[r"
            vm1: reserved -> 5e A-4Q
            * set 5e.1 A-4Q
        "]],
    );
}

#[test]
fn a_domain_in_quarantine_is_left_alone() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q
        desktop vm1 cold A-4Q off p=1% has=3b.1 held=60m quarantine=denied
        desktop vm2 cold A-4Q off p=60% quarantine=denied
        ",
        &expect![[r"
            vm1: quarantined, hands off
            vm2: quarantined
        "]],
    );
}

#[test]
fn after_a_reboot_the_device_is_made_again() {
    check_rounds(
        r"
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop vm1 cold A-4Q off p=60% has=mdev:vm1 held=60m
        ",
        &expect![[r"
            vm1: reserved -> 3b A-4Q
            round 1
            * detach mdev:vm1 from vm1
            round 2
            * create mdev:vm1 A-4Q on 3b
            round 3
            * attach mdev:vm1 to vm1
            round 4
            * start vm1
            vm1: reserved -> 3b A-4Q
        "]],
    );
}

#[test]
fn after_a_reboot_whoever_waits_gets_a_device() {
    check_rounds(
        r"
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop vm1 cold A-4Q off has=mdev:vm1 waiting=1m
        ",
        &expect![[r"
            vm1: waiting -> 3b A-4Q
            round 1
            * detach mdev:vm1 from vm1
            round 2
            * create mdev:vm1 A-4Q on 3b
            round 3
            * attach mdev:vm1 to vm1
            round 4
            * start vm1
            vm1: arriving -> 3b A-4Q
        "]],
    );
}

#[test]
fn after_a_reboot_a_vf_goes_to_whoever_needs_it() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=1
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop gone cold A-4Q off p=1% has=3b.1 held=60m
        desktop vm1 cold A-4Q off p=60%
        ",
        &expect![[r"
            gone: below-take
            vm1: reserved -> 3b A-4Q
            round 1
            * detach 3b.1 from gone
            round 2
            * set 3b.1 A-4Q
            round 3
            * attach 3b.1 to vm1
            round 4
            * start vm1
            gone: below-take
            vm1: reserved -> 3b A-4Q
        "]],
    );
}

#[test]
fn a_vgpu_of_unknown_profile_closes_its_gpu() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 ?
        desktop vm1 cold A-4Q off p=60%
        ",
        &expect![[r"
            vm1: no-capacity
        "]],
    );
}
