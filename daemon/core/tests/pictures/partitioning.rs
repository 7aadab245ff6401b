//! What each kind of GPU does.

use expect_test::expect;

use super::{check, check_rounds};

#[test]
fn fixed_vfs_are_only_handed_out() {
    check_rounds(
        r"
        gpu c1 sriov fixed-vfs 32768 vfs=2
          V-1/2 16384 x2
          + c1.1 V-1/2
          + c1.2 V-1/2
        desktop vm1 cold V-1/2 off p=40%
        desktop vm2 cold V-1/2 off p=30%
        desktop vm3 cold V-1/2 off p=20%
        ",
        &expect![[r"
            vm1: reserved -> c1 V-1/2
            vm2: reserved -> c1 V-1/2
            vm3: no-capacity
            round 1
            * attach c1.1 to vm1
            round 2
            * start vm1
            * attach c1.2 to vm2
            round 3
            * start vm2
            vm1: reserved -> c1 V-1/2
            vm2: reserved -> c1 V-1/2
            vm3: no-capacity
        "]],
    );
}

#[test]
fn fixed_vfs_come_back_and_stay() {
    check_rounds(
        r"
        gpu c1 sriov fixed-vfs 32768 vfs=2
          V-1/2 16384 x2
          + c1.1 V-1/2
          + c1.2 V-1/2 open=vm1
        desktop vm1 cold V-1/2 running p=1% has=c1.2 held=60m left=11m
        ",
        &expect![[r"
            vm1: below-release, shut down
            round 1
            * shut down vm1
            round 2
            * detach c1.2 from vm1
            vm1: below-take
        "]],
    );
}

#[test]
fn vfs_that_are_off_are_enabled_first() {
    check_rounds(
        r"
        gpu c1 sriov sriov:2 32768
          V-1/2 16384 x2
        desktop vm1 cold V-1/2 off p=40%
        ",
        &expect![[r"
            vm1: reserved -> c1 V-1/2
            c1: 2 VFs
            round 1
            * enable 2 VFs on c1
            round 2
            * attach c1.1 to vm1
            round 3
            * start vm1
            vm1: reserved -> c1 V-1/2
        "]],
    );
}

#[test]
fn a_vendors_vfs_are_enabled_before_the_first_type() {
    check_rounds(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs-off=8
          A-4Q 4096 x6
        desktop vm1 cold A-4Q off p=40%
        ",
        &expect![[r"
            vm1: reserved -> 3b A-4Q
            3b: 8 VFs
            round 1
            * enable 8 VFs on 3b
            round 2
            * set 3b.1 A-4Q
            round 3
            * attach 3b.1 to vm1
            round 4
            * start vm1
            vm1: reserved -> 3b A-4Q
        "]],
    );
}

#[test]
fn a_vendors_vfs_are_enabled_before_the_first_mdev() {
    check_rounds(
        r"
        gpu 3b mdev equal-size 24576 vfs-off=8
          A-4Q 4096 x6
        desktop vm1 cold A-4Q off p=40%
        ",
        &expect![[r"
            vm1: reserved -> 3b A-4Q
            3b: 8 VFs
            round 1
            * enable 8 VFs on 3b
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
fn vfs_stay_off_where_nobody_is_placed() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs-off=8
          A-4Q 4096 x6
        desktop vm1 cold A-4Q off p=1%
        ",
        &expect![[r"
            vm1: below-take
        "]],
    );
}

#[test]
fn mixed_sizes_stand_side_by_side() {
    check_rounds(
        r"
        gpu 3b vfio-variant mixed-size:24 24576 vfs=8
          L-6Q 6144 x4 slots=6 at=0,6,12,18
          L-12Q 12288 x2 slots=12 at=0,12
        desktop small cold L-6Q off p=60%
        desktop large cold L-12Q off p=50%
        desktop more cold L-12Q off p=40%
        ",
        &expect![[r"
            large: reserved -> 3b L-12Q at 0
            more: no-capacity
            small: reserved -> 3b L-6Q at 18
            round 1
            * set 3b.1 L-6Q at 18
            round 2
            * attach 3b.1 to small
            round 3
            * start small
            * set 3b.2 L-12Q at 0
            round 4
            * attach 3b.2 to large
            round 5
            * start large
            large: reserved -> 3b L-12Q at 0
            more: no-capacity
            small: reserved -> 3b L-6Q at 18
        "]],
    );
}

#[test]
fn an_idle_device_at_the_wrong_place_is_made_anew() {
    check_rounds(
        r"
        gpu 3b vfio-variant mixed-size:24 24576 vfs=8
          L-6Q 6144 x4 slots=6 at=0,6,12,18
          L-12Q 12288 x2 slots=12 at=0,12
          + 3b.1 L-6Q at=0
        desktop small cold L-6Q off p=60%
        desktop large cold L-12Q off p=50%
        ",
        &expect![[r"
            large: reserved -> 3b L-12Q at 0
            small: reserved -> 3b L-6Q at 18
            round 1
            * clear 3b.1 L-6Q
            round 2
            * set 3b.1 L-6Q at 18
            round 3
            * attach 3b.1 to small
            round 4
            * start small
            * set 3b.2 L-12Q at 0
            round 5
            * attach 3b.2 to large
            round 6
            * start large
            large: reserved -> 3b L-12Q at 0
            small: reserved -> 3b L-6Q at 18
        "]],
    );
}

#[test]
fn mig_slices_are_as_the_driver_allows() {
    check_rounds(
        r"
        gpu 3b vfio-variant mig:8 81920 vfs=8
          H-1-10C 10240 x7 slots=1 at=0,1,2,3,4,5,6
          H-3-40C 40960 x2 slots=4 at=0,4
        desktop s1 cold H-1-10C off p=60%
        desktop s2 cold H-1-10C off p=55%
        desktop large cold H-3-40C off p=50%
        desktop large2 cold H-3-40C off p=40%
        ",
        &expect![[r"
            large: reserved -> 3b H-3-40C at 0
            large2: no-capacity
            s1: reserved -> 3b H-1-10C at 6
            s2: reserved -> 3b H-1-10C at 5
            round 1
            * set 3b.1 H-1-10C at 6
            round 2
            * attach 3b.1 to s1
            round 3
            * start s1
            * set 3b.2 H-1-10C at 5
            round 4
            * attach 3b.2 to s2
            round 5
            * start s2
            * set 3b.3 H-3-40C at 0
            round 6
            * attach 3b.3 to large
            round 7
            * start large
            large: reserved -> 3b H-3-40C at 0
            large2: no-capacity
            s1: reserved -> 3b H-1-10C at 6
            s2: reserved -> 3b H-1-10C at 5
        "]],
    );
}

#[test]
fn gpu_instances_are_made_before_their_vgpus_and_go_after_them() {
    check_rounds(
        r"
        gpu 3b vfio-variant mig:8 81920 vfs=8 gpu-instances
          H-1-10C 10240 x7 slots=1 at=0,1,2,3,4,5,6
          H-3-40C 40960 x2 slots=4 at=0,4
          + 3b.1 H-1-10C at=5
          instance 1 H-1-10C at=5 open=3b.1
        desktop s1 cold H-1-10C off p=60%
        desktop s2 cold H-1-10C off p=55%
        desktop gone cold H-1-10C off p=1% has=3b.1 held=60m
        ",
        &expect![[r"
            gone: below-release
            s1: reserved -> 3b H-1-10C at 6
            s2: reserved -> 3b H-1-10C at 5
            round 1
            * detach 3b.1 from gone
            round 2
            * attach 3b.1 to s2
            round 3
            * start s2
            * make instance H-1-10C at 6 on 3b
            round 4
            * set 3b.2 H-1-10C at 6
            round 5
            * attach 3b.2 to s1
            round 6
            * start s1
            gone: below-take
            s1: reserved -> 3b H-1-10C at 6
            s2: reserved -> 3b H-1-10C at 5
        "]],
    );
}

#[test]
fn a_gpu_instance_goes_after_its_vgpu() {
    check_rounds(
        r"
        gpu 3b vfio-variant mig:8 81920 vfs=8 gpu-instances
          H-1-10C 10240 x7 slots=1 at=0,1,2,3,4,5,6
          + 3b.1 H-1-10C at=5
          instance 1 H-1-10C at=5 open=3b.1
        desktop vm1 cold H-1-10C off p=1%
        ",
        &expect![[r"
            vm1: below-take
            round 1
            * clear 3b.1 H-1-10C
            round 2
            * destroy instance 1 on 3b
            vm1: below-take
        "]],
    );
}

#[test]
fn idle_gpu_instances_in_the_wrong_place_make_room() {
    check_rounds(
        r"
        gpu 3b vfio-variant mig:8 81920 vfs=8 gpu-instances
          H-1-10C 10240 x7 slots=1 at=0,1,2,3,4,5,6
          H-3-40C 40960 x2 slots=4 at=0,4
          instance 1 H-1-10C at=0
          instance 2 H-1-10C at=6
          instance 3 H-1-10C at=5
        desktop large cold H-3-40C off p=60%
        desktop small cold H-1-10C off p=55%
        ",
        &expect![[r"
            large: reserved -> 3b H-3-40C at 0
            small: reserved -> 3b H-1-10C at 6
            round 1
            * destroy instance 1 on 3b
            round 2
            * destroy instance 3 on 3b
            round 3
            * make instance H-3-40C at 0 on 3b
            round 4
            * set 3b.1 H-3-40C at 0
            round 5
            * attach 3b.1 to large
            round 6
            * start large
            * set 3b.2 H-1-10C at 6
            round 7
            * attach 3b.2 to small
            round 8
            * start small
            large: reserved -> 3b H-3-40C at 0
            small: reserved -> 3b H-1-10C at 6
        "]],
    );
}

#[test]
fn gpu_instances_that_others_use_or_nobody_understands_stay() {
    check_rounds(
        r"
        gpu 3b mdev mig:8 81920 gpu-instances
          H-1-10C 10240 x7 slots=1 at=0,1,2,3,4,5,6
          H-3-40C 40960 x2 slots=4 at=0,4
          instance 1 H-3-40C at=4 open=?
          instance 2 ? at=3
          instance 3 H-1-10C at=2 open=cuda
        desktop large cold H-3-40C off p=60%
        desktop small cold H-1-10C off p=55%
        ",
        &expect![[r"
            large: no-capacity
            small: reserved -> 3b H-1-10C at 1
            round 1
            * make instance H-1-10C at 1 on 3b
            round 2
            * create mdev:small H-1-10C at 1 on 3b
            round 3
            * attach mdev:small to small
            round 4
            * start small
            large: no-capacity
            small: reserved -> 3b H-1-10C at 1
        "]],
    );
}

#[test]
fn a_size_is_opened_where_it_costs_least_of_what_is_forecast() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
        gpu 5e vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
        desktop now cold A-4Q off p=60%
        desktop later cold A-8Q off p=1% soon=90%
        ",
        &expect![[r"
            later: below-take
            now: reserved -> 5e A-4Q
            * set 5e.1 A-4Q
        "]],
    );
}

#[test]
fn without_that_forecast_the_first_is_taken() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
        gpu 5e vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
        desktop now cold A-4Q off p=60%
        desktop later cold A-8Q off p=1% soon=0%
        ",
        &expect![[r"
            later: below-take
            now: reserved -> 3b A-4Q
            * set 3b.1 A-4Q
        "]],
    );
}

#[test]
fn an_open_size_is_filled_before_another_gpu_is_bound() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
        gpu 5e vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          + 5e.1 A-4Q open=busy
        desktop busy cold A-4Q running active=5m has=5e.1
        desktop vm1 cold A-4Q off p=60%
        ",
        &expect![[r"
            busy: in-use, hands off
            vm1: reserved -> 5e A-4Q
            * set 5e.2 A-4Q
        "]],
    );
}

#[test]
fn a_bound_gpu_takes_no_other_size() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
          + 3b.1 A-4Q open=busy
        desktop busy cold A-4Q running active=5m has=3b.1
        desktop vm1 cold A-8Q off p=60%
        desktop vm2 cold A-8Q,A-4Q off p=50%
        ",
        &expect![[r"
            busy: in-use, hands off
            vm1: no-capacity
            vm2: reserved -> 3b A-4Q
            * set 3b.2 A-4Q
        "]],
    );
}

#[test]
fn computing_stands_beside_no_other_series() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-4B 4096 x6
          A-4C 4096 x6 compute
          + 3b.1 A-4Q open=busy
        desktop busy cold A-4Q running active=5m has=3b.1
        desktop vm1 cold A-4C off p=60%
        desktop vm2 cold A-4B off p=50%
        ",
        &expect![[r"
            busy: in-use, hands off
            vm1: no-capacity
            vm2: reserved -> 3b A-4B
            * set 3b.2 A-4B
        "]],
    );
}

#[test]
fn a_profile_that_nobody_has() {
    check(
        r"
        gpu 3b vfio-variant equal-size 24576 vfs=8
          A-4Q 4096 x6
          A-8Q 8192 x3
        desktop vm1 cold B-1Q off p=60%
        ",
        &expect![[r"
            vm1: not-offered
        "]],
    );
}
