# shellcheck shell=bash
# about: as installed, the daemon decides everything on the real host and changes nothing
# deadline: 90
# takes: 10

scenario() {
    install_headstart
    set_clock "2029-03-05 08:50"
    define_desktop office
    set_vfs 2
    local stranger before
    stranger=$(make_mdev mbochs mbochs-small)
    before="$(mdevs) $(vfs) $(virsh dumpxml office --inactive | md5sum)"

    mkdir -p /etc/headstart/headstart.toml.d
    cat > /etc/headstart/headstart.toml.d/lab.toml << 'TOML'
[policy]
poll = "1 s"
[[gpu]]
address = "mbochs"
[[desktop]]
name = "office"
user = "ada"
profile = "mbochs-small"
TOML
    systemctl reset-failed headstartd || true
    expect "the unit starts" systemctl restart headstartd
    on_the_bus
    same "it is in shadow mode" shadow "$(property host Host Mode)"
    same "on real hardware" false "$(property host Host Simulated)"
    past_logins ada office 09:00
    set_clock "2029-03-05 08:59"
    headstart reconcile
    expect "it would reserve" says shadow headstart explain office
    same "it has done nothing" "$before" "$(mdevs) $(vfs) $(virsh dumpxml office --inactive | md5sum)"
    expect "the stranger's mdev is there" has_mdev "$stranger"
}
