//! Each screen, as a person sees it.

use expect_test::{Expect, expect};

use crate::{command, headstart, run, service};

/// Runs the command on the sample and compares what it prints.
async fn shows(arguments: &[&str], expected: Expect) {
    let service = service::sample().await;
    let ran = headstart(&service.bus.address(), arguments).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    expected.assert_eq(&ran.out);
}

#[tokio::test]
async fn status() {
    shows(
        &["status"],
        expect![[r#"
            headstart 0.1.0  armed, simulated hardware  Mon 2026-11-23 07:40:00 UTC
            Desktops  5: 1 in use, 1 reserved ahead, 1 waiting
            Hit rate  82 % (33 of 40 logins found their GPU ready; 3 late, 4 missed)
            Price     12.5 GPU-hours held idle, 6 reservations in vain
            Model     logistic over 5 desktops, trained 2026-11-23 02:00 on 1830 rows

            GPU           Board       Framebuffer       Used         vGPUs  Health
            0000:3b:00.0  NVIDIA A40  ██▋░░░░░░░░░░░░░  8 of 48 GiB  2      ok
            0000:5e:00.0  AMD V710    ░░░░░░░░░░░░░░░░  0 of 28 GiB  0      quarantined:
                                                                            permission
                                                                            denied

            Next login                 Desktop    Today  State    Why
            08:05       in 25 min      design-01  95 %   ready    ready: 86 % is above th…
            08:20       in 40 min      office-02  81 %   waiting  waiting: 74 % is above…
            09:00       in 1 h 20 min  office-01  34 %   off      off: 31 % is above the…

            Waiting for room
              office-02: waiting: 74 % is above the threshold

            Problems
              GPU 0000:5e:00.0: sriov_numvfs could not be written: permission denied
        "#]],
    )
    .await;
}

#[tokio::test]
async fn desktops() {
    shows(
        &["desktops"],
        expect![[r#"
            Desktop    State    Next login  Today  GPU           Profile
            design-01  ready    08:05       95 %   0000:3b:00.0  A40-4Q
            design-02  in-use   -           2.2 %  0000:3b:00.0  A40-4Q
            office-01  off      09:00       34 %   -             A40-4Q
            office-02  waiting  08:20       81 %   -             A40-4Q
            office-03  off      -           0.1 %  -             A40-4Q
        "#]],
    )
    .await;
}

#[tokio::test]
async fn gpus() {
    shows(
        &["gpus"],
        expect![[r#"
        0000:3b:00.0  NVIDIA A40  ok
          NVIDIA time-sliced, one size
          █████▍░░░░░░░░░░░░░░░░░░░░░░░░░░  8192 of 49152 MiB given
          room for: A40-4Q
          Device        Profile  State     Desktop
          0000:3b:00.4  A40-4Q   attached  design-01
          0000:3b:00.5  A40-4Q   foreign   somebody-else

        0000:5e:00.0  AMD V710  quarantined: permission denied
          NVIDIA time-sliced, one size
          ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  0 of 28672 MiB given
          room for: nothing more
    "#]],
    )
    .await;
}

#[tokio::test]
async fn explain() {
    shows(
        &["explain", "design-01"],
        expect![[r#"
        This desktop is ready.
        The forecast says 86 %.

        Last decisions:
          2026-11-23T07:40:00Z  reserve A40-4Q on 0000:3b:00.0: 86 % within its lead time of 2 min
    "#]],
    )
    .await;
}

#[tokio::test]
async fn forecast() {
    shows(
        &["forecast", "design-01"],
        expect![[r#"
            design-01 (anna): 95 % within 24 h, ready now; Mon 2026-11-23 07:40:00 UTC

              60 % │
                   │  ▂▁
                   │ ▄██▁
              30 % │▃████
                   │██████
                   │███████▃▁
               0 % └──┬───┬───┬───┬───┬───┬───┬───┬───┬───┬───┬───┬─
                      08  09  10  11  12  13  14  15  16  17  18  19
                    ▲ now
                      ▲ likeliest

              60 % │
                   │
                   │
              30 % │
                   │
                   │
               0 % └──┬───┬───┬───┬───┬───┬───┬───┬───┬───┬───┬───┬─
                      20  21  22  23  00  01  02  03  04  05  06  07

            Likeliest login: 08:05, in 25 min; 42 % in that slot of 15 min.
            Getting ready takes 2 min 20 s; a login when that is over: 86 %.
        "#]],
    )
    .await;
}

#[tokio::test]
async fn forecast_in_ascii_on_a_wide_terminal() {
    let service = service::sample().await;
    let mut wide = command(&service.bus.address(), &["forecast", "design-01"]);
    wide.env("COLUMNS", "120").env("LC_ALL", "C");
    let ran = run(wide).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.is_ascii(), "{}", ran.out);
    expect![[r#"
        design-01 (anna): 95 % within 24 h, ready now; Mon 2026-11-23 07:40:00 UTC

          60 % |
               |  ..
               | :##.
          30 % |.####
               |######
               |#######..
           0 % +--+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+-
                  08  09  10  11  12  13  14  15  16  17  18  19  20  21  22  23  00  01  02  03  04  05  06  07
                ^ now
                  ^ likeliest

        Likeliest login: 08:05, in 25 min; 42 % in that slot of 15 min.
        Getting ready takes 2 min 20 s; a login when that is over: 86 %.
    "#]]
    .assert_eq(&ran.out);
}

#[tokio::test]
async fn a_host_that_has_just_started() {
    let empty = headstartd::status::Status::default();
    let service = service::serve(crate::private_bus::PrivateBus::session(), empty).await;
    let ran = headstart(&service.bus.address(), &["status"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    expect![[r#"
        headstart 0.1.0  shadow mode (nothing is done)  Thu 1970-01-01 00:00:00 UTC
        Desktops  0: 0 in use, 0 reserved ahead, 0 waiting
        Hit rate  no login to judge yet
        Price     0.0 GPU-hours held idle, 0 reservations in vain
        Model     none yet: the first round is to come

        No GPU is managed: name them in /etc/headstart/headstart.toml

        Nobody is expected within 24 h.
    "#]]
    .assert_eq(&ran.out);
}

#[tokio::test]
async fn no_line_is_wider_than_the_terminal() {
    let service = service::sample().await;
    for screen in [&["status"][..], &["desktops"], &["gpus"], &["forecast", "design-01"]] {
        let ran = headstart(&service.bus.address(), screen).await;
        for line in ran.out.lines() {
            assert!(line.chars().count() <= 80, "{screen:?}: {line}");
        }
    }
}
