/* Clients: far ends that read by themselves and are otherwise played by the test. */
#include "rt/sim/world.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/mem.h"

struct sim_client {
    struct sim *sim;
    struct sim_client *next, **link; /* All clients. */
    struct end *end;                 /* NULL: closed. */
    enum sim_client_state state;
    int error;
    bool stalled;
    bool ending; /* Shut down once everything is sent. */
    struct bytes in, out;
    size_t in_head, out_head; /* Taken by the test, by the connection. */
    char name[ADDRESS_TEXT_MAX];
};

static void append(struct bytes *bytes, size_t *head, const void *data, size_t len)
{
    if (*head == bytes->len) {
        *head = bytes->len = 0;
    }
    int r = bytes_append(bytes, data, len);
    CHECK(r == 0);
}

static void failed(struct sim_client *client, int error)
{
    client->error = error;
    if (client->state == SIM_CLIENT_CONNECTING) {
        client->state = SIM_CLIENT_REFUSED;
    } else if (client->state == SIM_CLIENT_OPEN) {
        client->state = SIM_CLIENT_RESET; /* After the end it is news to nobody. */
    }
}

static void read_all(struct sim_client *client)
{
    uint8_t buf[4096];
    long n = 1;

    while (!client->stalled && n > 0) {
        n = end_recv(client->end, buf, sizeof(buf));
        if (n > 0) {
            append(&client->in, &client->in_head, buf, (size_t)n);
        }
    }
    if (n == 0 && client->state == SIM_CLIENT_OPEN) {
        client->state = SIM_CLIENT_ENDED;
    } else if (n < 0 && n != -EAGAIN) {
        failed(client, (int)n);
    }
}

static void write_all(struct sim_client *client)
{
    while (client->out_head < client->out.len) {
        long n = end_send(
            client->end, client->out.data + client->out_head, client->out.len - client->out_head);
        if (n < 0) {
            return; /* Not now; or for ever, which reading finds out. */
        }
        client->out_head += (size_t)n;
    }
    if (client->ending) {
        end_shutdown(client->end);
    }
}

void client_notify(struct sim_client *client)
{
    if (client->state == SIM_CLIENT_CONNECTING && client->end->established) {
        client->state = SIM_CLIENT_OPEN;
    }
    if (client->end->broken && client->end->error && client->stalled) {
        failed(client, -client->end->error); /* A stalled reader hears of a reset all the same. */
    }
    read_all(client);
    if (client->state == SIM_CLIENT_OPEN || client->state == SIM_CLIENT_ENDED) {
        write_all(client);
    }
}

struct sim_client *sim_client_connect(struct sim *sim, const char *address)
{
    struct end *end;
    int r = wire_connect(sim, address, &end);

    CHECK(r == 0); /* The test's own address. */
    struct sim_client *client = mem_zalloc(sizeof(*client));
    client->sim = sim;
    client->end = end;
    end->client = client;
    memcpy(client->name, end->name, sizeof(client->name));
    client->next = sim->clients;
    client->link = &sim->clients;
    if (client->next) {
        client->next->link = &client->next;
    }
    sim->clients = client;
    return client;
}

void sim_client_free(struct sim_client *client)
{
    if (!client) {
        return;
    }
    if (client->end) {
        end_close(client->end);
    }
    *client->link = client->next;
    if (client->next) {
        client->next->link = client->link;
    }
    bytes_fini(&client->in);
    bytes_fini(&client->out);
    mem_free(client);
}

enum sim_client_state sim_client_state(const struct sim_client *client)
{
    return client->state;
}

int sim_client_error(const struct sim_client *client)
{
    return client->error;
}

const char *sim_client_name(const struct sim_client *client)
{
    return client->name;
}

void sim_client_send(struct sim_client *client, const void *data, size_t len)
{
    if (!client->end) {
        return;
    }
    append(&client->out, &client->out_head, data, len);
    if (client->state == SIM_CLIENT_OPEN || client->state == SIM_CLIENT_ENDED) {
        write_all(client);
    }
}

size_t sim_client_unsent(const struct sim_client *client)
{
    return client->out.len - client->out_head;
}

size_t sim_client_recv(struct sim_client *client, void *buf, size_t cap)
{
    size_t len;
    const uint8_t *data = sim_client_peek(client, &len);

    len = len < cap ? len : cap;
    if (len) {
        memcpy(buf, data, len);
    }
    client->in_head += len;
    return len;
}

const uint8_t *sim_client_peek(const struct sim_client *client, size_t *ret_len)
{
    *ret_len = client->in.len - client->in_head;
    return client->in.data ? client->in.data + client->in_head : (const uint8_t *)"";
}

void sim_client_stall(struct sim_client *client, bool stalled)
{
    client->stalled = stalled;
    if (!stalled && client->end) {
        client_notify(client);
    }
}

void sim_client_window(struct sim_client *client, uint32_t bytes)
{
    if (client->end) {
        client->end->wire->pipes[1].window = bytes;
    }
}

void sim_client_shutdown(struct sim_client *client)
{
    client->ending = true;
    if (client->end && (client->state == SIM_CLIENT_OPEN || client->state == SIM_CLIENT_ENDED)) {
        write_all(client);
    }
}

void sim_client_kill(struct sim_client *client)
{
    if (client->end) {
        end_reset(client->end);
        client->end = NULL;
        client->state = SIM_CLIENT_GONE;
    }
}

void sim_client_vanish(struct sim_client *client)
{
    if (client->end) {
        struct end *end = client->end;
        trace(client->sim, "vanish", end->wire->id, 0, 0);
        client->end = NULL;
        client->state = SIM_CLIENT_GONE;
        end->client = NULL;
        end->open = false;
        end->broken = true;
        end->wire->frozen = true;
    }
}
