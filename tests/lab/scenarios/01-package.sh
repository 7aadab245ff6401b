# shellcheck shell=bash
# about: the package installs, its unit runs in its sandbox on a real bus, and a purge leaves nothing
# deadline: 90
# takes: 30

# What is on the disk, without what changes by itself, what dpkg remembers and what is the lab's.
files() {
    find /etc /usr /var -xdev \( -path /var/log -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/lib/lab \) -prune -o -print
}
active() { systemctl --quiet is-active headstartd; }

scenario() {
    files | sort > /run/before

    step "install"
    expect "it installs" dpkg -i /lab/headstart.deb
    expect "its files are unchanged" dpkg --verify headstart
    expect "the configuration is good" headstartd --check-config
    same "the packaged mode is shadow" 'mode = "shadow"' "$(headstartd --check-config | grep '^mode')"
    expect "the unit is enabled" systemctl is-enabled headstartd
    expect "the manual is there" test -e /usr/share/man/man8/headstartd.8.gz

    step "the daemon below its unit, on simulated hardware"
    mkdir -p /run/systemd/system/headstartd.service.d
    printf '[Service]\nExecStart=\nExecStart=/usr/sbin/headstartd --simulate /usr/share/doc/headstart/demo-host.toml\n' \
        > /run/systemd/system/headstartd.service.d/simulated.conf
    systemctl daemon-reload
    systemctl reset-failed headstartd || true
    expect "it starts" systemctl restart headstartd
    on_the_bus
    same "it is simulated" true "$(property host Host Simulated)"
    same "it is in shadow mode" shadow "$(property host Host Mode)"
    expect "busctl sees its objects" busctl tree org.headstart1
    expect "the command talks to it" headstart status
    refuse "nobody but root may call it" setpriv --reuid=65534 --regid=65534 --clear-groups headstart status
    same "its history is root's alone" 700 "$(stat -c %a /var/lib/headstart)"
    local pid
    pid=$(daemon_pid)
    kill_daemon
    wait_for 10 "systemd starts it again" active
    on_the_bus
    refuse "as another process" same_pid "$pid"

    step "the same version again, as an upgrade does it"
    expect "it is installed over itself" dpkg -i /lab/headstart.deb
    on_the_bus

    step "remove, and install again"
    expect "it is removed" dpkg --remove headstart
    refuse "the daemon is gone" busctl status org.headstart1
    expect "the history is still there" test -e /var/lib/headstart/history.db
    expect "it installs again" dpkg -i /lab/headstart.deb
    on_the_bus

    step "purge"
    expect "it is purged" dpkg --purge headstart
    rm -r /run/systemd/system/headstartd.service.d
    systemctl daemon-reload
    files | sort > /run/after
    expect "nothing is left" diff /run/before /run/after
    refuse "systemd knows the unit no more" systemctl cat headstartd
    refuse "the daemon is gone" busctl status org.headstart1
}

same_pid() { [ "$(daemon_pid)" = "$1" ]; }
