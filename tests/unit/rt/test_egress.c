/* Where an address leads, in every spelling that the system would connect to. */
#include "tests/support/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/attr.h"
#include "rt/egress.h"

static enum egress_scope scope(const char *text)
{
    struct sockaddr_storage storage = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
    char back[EGRESS_TEXT_MAX];

    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        storage.ss_family = AF_INET;
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        storage.ss_family = AF_INET6;
    } else {
        fail_msg("%s is no address", text);
    }
    egress_text((struct sockaddr *)&storage, back);
    assert_string_equal(back, text);
    return egress_scope((struct sockaddr *)&storage);
}

static void all(enum egress_scope expected, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (scope(texts[i]) != expected) {
            fail_msg("%s: %d where %d is expected", texts[i], scope(texts[i]), expected);
        }
    }
}

static void the_internet_is_public_up_to_the_edges_of_what_is_not(void **state)
{
    static const char *const texts[] = {"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255",
        "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0",
        "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
        "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2001:1::1", "3fff:ffff::1",
        "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"};

    (void)state;
    all(EGRESS_PUBLIC, texts, COUNT_OF(texts));
}

static void this_machine_and_an_organisations_networks_are_private_in_every_form(void **state)
{
    static const char *const texts[] = {"127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.0",
        "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255",
        "100.64.0.0", "100.127.255.255", "::1", "::", "fc00::1", "fdff::1", "::ffff:127.0.0.1",
        "::ffff:10.1.2.3", "::10.1.2.3", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:c0a8:101::1"};

    (void)state;
    all(EGRESS_PRIVATE, texts, COUNT_OF(texts));
}

static void metadata_link_local_multicast_and_reserved_addresses_are_special(void **state)
{
    static const char *const texts[] = {"169.254.169.254", "169.254.0.1", "168.63.129.16",
        "100.100.100.200", "fd00:ec2::254", "224.0.0.1", "239.1.1.1", "255.255.255.255",
        "240.0.0.1", "0.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
        "192.0.0.8", "fe80::1", "febf::1", "ff02::1", "2001::1", "2001:db8::1", "fec0::1",
        "4000::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
        "::ffff:224.0.0.1"};

    (void)state;
    all(EGRESS_SPECIAL, texts, COUNT_OF(texts));
}

static void what_is_no_internet_address_is_special_and_has_no_text(void **state)
{
    struct sockaddr unix_address = {.sa_family = AF_UNIX};
    char text[EGRESS_TEXT_MAX];

    (void)state;
    assert_int_equal(egress_scope(&unix_address), EGRESS_SPECIAL);
    egress_text(&unix_address, text);
    assert_string_equal(text, "?");
}

static void a_socket_neither_blocks_nor_is_inherited(void **state)
{
    struct sockaddr_in loopback = {.sin_family = AF_INET};
    int fd = egress_socket((struct sockaddr *)&loopback);

    (void)state;
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    loopback.sin_family = 12345;
    assert_true(egress_socket((struct sockaddr *)&loopback) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_internet_is_public_up_to_the_edges_of_what_is_not),
        cmocka_unit_test(this_machine_and_an_organisations_networks_are_private_in_every_form),
        cmocka_unit_test(metadata_link_local_multicast_and_reserved_addresses_are_special),
        cmocka_unit_test(what_is_no_internet_address_is_special_and_has_no_text),
        cmocka_unit_test(a_socket_neither_blocks_nor_is_inherited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
