//! What still fits on a PF, rule by rule.

use super::*;

fn profile(name: &str, mib: u32, max: u16, slots: u16, starts: &[u16]) -> Profile {
    Profile {
        name: name.parse().unwrap(),
        framebuffer: FramebufferMib::new(mib),
        max_instances: max,
        compute: name.ends_with('C'),
        slots,
        starts: starts.to_vec(),
    }
}

fn gpu(partitioning: Partitioning, interface: Interface, vfs: u32, profiles: Vec<Profile>) -> Gpu {
    let address: GpuId = "0000:3b:00.0".parse().unwrap();
    Gpu {
        address,
        name: "test".into(),
        framebuffer: FramebufferMib::new(24_576),
        interface,
        partitioning,
        profiles,
        vfs: (0..vfs).filter_map(|n| address.offset(4 + n)).collect(),
        dormant_vfs: 0,
        vgpus: BTreeMap::new(),
        instances: None,
        state: GpuState::Ready,
    }
}

fn fit(gpu: &Gpu, tenants: &[(&str, Option<u16>)], new: &str) -> String {
    let names: Vec<ProfileName> = tenants.iter().map(|(n, _)| n.parse().unwrap()).collect();
    let tenants: Vec<Tenant<'_>> =
        names.iter().zip(tenants).map(|(n, (_, start))| Tenant { profile: Some(n), start: *start }).collect();
    match gpu.fit(&tenants, &new.parse().unwrap(), None) {
        Ok(None) => "fits".into(),
        Ok(Some(start)) => format!("fits at {start}"),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn equal_size_is_bound_by_the_first() {
    let profiles = || {
        vec![
            profile("X-2Q", 2048, 12, 0, &[]),
            profile("X-2B", 2048, 12, 0, &[]),
            profile("X-2C", 2048, 12, 0, &[]),
            profile("X-8Q", 8192, 3, 0, &[]),
        ]
    };
    let mut gpu = gpu(Partitioning::EqualSize { series_may_mix: true }, Interface::VfioVariant, 16, profiles());
    assert_eq!(fit(&gpu, &[], "X-8Q"), "fits");
    assert_eq!(fit(&gpu, &[("X-2B", None)], "X-2Q"), "fits");
    assert_eq!(fit(&gpu, &[("X-2B", None)], "X-8Q"), "it is bound to vGPUs of 2048 MiB until the last of them is gone");
    assert_eq!(fit(&gpu, &[("X-2C", None)], "X-2C"), "fits");
    for (there, new) in [("X-2B", "X-2C"), ("X-2C", "X-2B")] {
        let refusal = format!("it is bound to {there} until the last of them is gone");
        assert_eq!(fit(&gpu, &[(there, None)], new), refusal, "computing stands alone");
    }
    assert_eq!(fit(&gpu, &[("X-8Q", None); 3], "X-8Q"), "all 3 instances of the profile are taken");
    assert_eq!(fit(&gpu, &[], "Y-1Q"), "it does not offer the profile");
    gpu.partitioning = Partitioning::EqualSize { series_may_mix: false };
    assert_eq!(fit(&gpu, &[("X-2B", None)], "X-2Q"), "it is bound to X-2B until the last of them is gone");
    gpu.vfs.truncate(1);
    assert_eq!(fit(&gpu, &[("X-2Q", None)], "X-2Q"), "every VF is taken");
}

#[test]
fn mixed_size_places_large_low_and_small_high() {
    let profiles = vec![profile("L4-6Q", 6144, 4, 6, &[0, 6, 12, 18]), profile("L4-12Q", 12_288, 2, 12, &[0, 12])];
    let gpu = gpu(Partitioning::MixedSize { slots: 24 }, Interface::VfioVariant, 16, profiles);
    assert_eq!(fit(&gpu, &[], "L4-6Q"), "fits at 18");
    assert_eq!(fit(&gpu, &[("L4-6Q", Some(18))], "L4-12Q"), "fits at 0");
    assert_eq!(fit(&gpu, &[("L4-6Q", Some(18)), ("L4-12Q", Some(0))], "L4-12Q"), "no placement is free");
    assert_eq!(fit(&gpu, &[("L4-6Q", None)], "L4-6Q"), "no placement is free");
}

#[test]
fn mig_slices_begin_where_the_driver_allows() {
    let profiles =
        vec![profile("A100-1-5C", 4864, 7, 1, &[0, 1, 2, 3, 4, 5, 6]), profile("A100-3-20C", 19_968, 2, 4, &[0, 4])];
    let gpu = gpu(Partitioning::Mig { slots: 8 }, Interface::VfioVariant, 16, profiles);
    assert_eq!(fit(&gpu, &[("A100-1-5C", Some(6))], "A100-3-20C"), "fits at 0");
    assert_eq!(fit(&gpu, &[("A100-1-5C", Some(6)), ("A100-1-5C", Some(0))], "A100-3-20C"), "no placement is free");
}

#[test]
fn gpu_instances_of_others_take_room_and_idle_ones_do_not() {
    let profiles =
        vec![profile("A100-1-5C", 4864, 7, 1, &[0, 1, 2, 3, 4, 5, 6]), profile("A100-3-20C", 19_968, 2, 4, &[0, 4])];
    let mut gpu = gpu(Partitioning::Mig { slots: 8 }, Interface::VfioVariant, 16, profiles);
    let instance = |name: Option<&str>, start, slots, used| Instance {
        profile: name.map(|name| name.parse().unwrap()),
        start,
        slots,
        used,
    };
    let (small, large): (ProfileName, ProfileName) = ("A100-1-5C".parse().unwrap(), "A100-3-20C".parse().unwrap());
    gpu.instances = Some(BTreeMap::from([
        (1, instance(Some("A100-1-5C"), 6, 1, Opened::No)),
        (2, instance(None, 0, 1, Opened::No)),
    ]));
    assert_eq!(fit(&gpu, &[], "A100-3-20C"), "fits at 4", "an idle one can go, one that nobody understands cannot");
    assert!(!gpu.has_slices(&large, 4) && gpu.has_slices(&small, 5) && !gpu.has_slices(&small, 7));
    assert_eq!(gpu.instance_for(&small).map(|it| it.start), Some(6));
    assert_eq!(gpu.instance_for(&large), None);
    gpu.instances.as_mut().unwrap().insert(3, instance(Some("A100-1-5C"), 5, 1, Opened::No));
    assert_eq!(gpu.instance_for(&small), None, "the driver would have a choice");
}

#[test]
fn a_budget_takes_any_mix() {
    let profiles = vec![profile("large", 64, 4, 16, &[]), profile("small", 4, 64, 1, &[])];
    let gpu = gpu(Partitioning::Budget { slots: 34 }, Interface::Mdev, 0, profiles);
    assert_eq!(fit(&gpu, &[("large", None), ("small", None)], "large"), "fits");
    assert_eq!(fit(&gpu, &[("large", None), ("large", None), ("small", None)], "small"), "fits");
    assert_eq!(
        fit(&gpu, &[("large", None), ("small", None), ("small", None), ("small", None)], "large"),
        "its budget is used up"
    );
    assert_eq!(gpu.capacity(&"large".parse().unwrap()), 2);
}

#[test]
fn vfs_that_are_off_count_as_room() {
    let profiles = vec![profile("X-2Q", 2048, 12, 0, &[])];
    let mut gpu = gpu(Partitioning::EqualSize { series_may_mix: true }, Interface::Mdev, 0, profiles);
    assert_eq!((gpu.capacity(&"X-2Q".parse().unwrap()), gpu.must_enable_vfs()), (12, false));
    gpu.dormant_vfs = 2;
    assert_eq!((gpu.capacity(&"X-2Q".parse().unwrap()), gpu.must_enable_vfs()), (2, true));
    assert_eq!(fit(&gpu, &[("X-2Q", None)], "X-2Q"), "fits");
    assert_eq!(fit(&gpu, &[("X-2Q", None); 2], "X-2Q"), "every VF is taken");
}

#[test]
fn what_is_unknown_closes_the_gpu() {
    let mut gpu = gpu(
        Partitioning::EqualSize { series_may_mix: true },
        Interface::Mdev,
        0,
        vec![profile("X-2Q", 2048, 12, 0, &[])],
    );
    let device = DeviceId::Mdev("11111111-2222-3333-4444-555555555555".parse().unwrap());
    gpu.vgpus.insert(device, Vgpu { profile: None, start: None, opened: Opened::No });
    let refusal = gpu.fit(&[Tenant { profile: None, start: None }], &"X-2Q".parse().unwrap(), None).unwrap_err();
    assert_eq!(refusal, Refusal::UnknownTenant(device));
}

#[test]
fn plain_vfs_are_counted() {
    let gpu = gpu(Partitioning::FixedVfs, Interface::Vf, 2, vec![profile("V710-1/2", 14_000, 2, 0, &[])]);
    assert_eq!(fit(&gpu, &[("V710-1/2", None)], "V710-1/2"), "fits");
    assert_eq!(fit(&gpu, &[("V710-1/2", None); 2], "V710-1/2"), "all 2 instances of the profile are taken");
    assert_eq!(gpu.capacity(&"V710-1/2".parse().unwrap()), 2);
}
