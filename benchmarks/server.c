/* A served model that costs next to nothing: what the load benchmarks run against.
 *
 * Speaks the OpenAI chat completions API over HTTP/1.1 on 127.0.0.1, one thread, one epoll. Every
 * response is prebuilt; answering is one write (at once) or one write per event (paced). It keeps its
 * own CLOCK_MONOTONIC stamps of every request, so that a client's account can be checked.
 *
 *     cc -O2 -std=c11 -o server server.c && ./server --paced --ttft-ms 50 --itl-ms 10
 *
 * Prints "listening PORT" once it does. SIGTERM or SIGINT ends it, as does the end of its parent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    REQUEST_MAX = 64 * 1024, /* bytes of one request, headers included */
    ID_MAX = 64,             /* bytes of a request id, the closing zero included */
    BATCH = 256,             /* socket events taken from the kernel at once */
    TIMERS_PER_TURN = 64,    /* due events written before sockets are looked at again */
};

/* ---- what went wrong -------------------------------------------------------------------------- */

static _Noreturn void die(const char *what) {
    fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *grown(void *memory, size_t bytes) {
    void *larger = realloc(memory, bytes);
    if (larger == NULL) die("out of memory");
    return larger;
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- prebuilt responses ----------------------------------------------------------------------- */

/* The bytes of a whole response. Step k is complete once `ends[k]` bytes are written; a response that
 * is not paced has one step. */
struct response {
    char *bytes;
    size_t length, capacity;
    size_t *ends;
    size_t steps;
};

static void append(struct response *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append(struct response *r, const char *format, ...) {
    va_list arguments;
    for (;;) {
        va_start(arguments, format);
        size_t room = r->capacity - r->length;
        size_t wanted = (size_t)vsnprintf(r->bytes + r->length, room, format, arguments);
        va_end(arguments);
        if (wanted < room) {
            r->length += wanted;
            return;
        }
        r->capacity = 2 * r->capacity + wanted + 1;
        r->bytes = grown(r->bytes, r->capacity);
    }
}

static void end_step(struct response *r) {
    r->ends = grown(r->ends, (r->steps + 1) * sizeof *r->ends);
    r->ends[r->steps++] = r->length;
}

/* One server-sent event as one HTTP chunk, the way servers built on ASGI send them. */
static void append_event(struct response *r, const char *data) {
    append(r, "%zx\r\ndata: %s\n\n\r\n", strlen("data: ") + strlen(data) + 2, data);
}

static const char *const WORDS[] = {" the", " model", " answers", " in", " words", " of", " several", " lengths"};
static const char ID[] = "chatcmpl-5f0c9d6d3a5b4c0e9a7d1f2e3b4c5d6e";

static const char *word(size_t position) { return WORDS[position % (sizeof WORDS / sizeof *WORDS)]; }

static struct response build_stream(size_t events, bool paced, const char *model) {
    struct response r = {0};
    char data[1024], head[256];
    snprintf(head, sizeof head, "{\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":%lld,\"model\":\"%s\"",
             ID, (long long)time(NULL), model);
    append(&r, "HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
               "transfer-encoding: chunked\r\n\r\n");
    snprintf(data, sizeof data,
             "%s,\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
             "\"logprobs\":null,\"finish_reason\":null}]}", head);
    append_event(&r, data);
    for (size_t i = 0; i < events; i++) {
        if (i > 0 && paced) end_step(&r);
        snprintf(data, sizeof data,
                 "%s,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},"
                 "\"logprobs\":null,\"finish_reason\":null,\"token_ids\":null}]}", head, word(i));
        append_event(&r, data);
    }
    snprintf(data, sizeof data,
             "%s,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"logprobs\":null,\"finish_reason\":\"length\"}],"
             "\"usage\":{\"prompt_tokens\":20,\"total_tokens\":%zu,\"completion_tokens\":%zu}}",
             head, 20 + events, events);
    append_event(&r, data);
    append_event(&r, "[DONE]");
    append(&r, "0\r\n\r\n");
    end_step(&r);
    return r;
}

static struct response build_json(const char *status, const char *body) {
    struct response r = {0};
    append(&r, "HTTP/1.1 %s\r\nserver: bench\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
           status, strlen(body), body);
    end_step(&r);
    return r;
}

static struct response build_completion(size_t events, const char *model) {
    struct response text = {0};
    append(&text, "{\"id\":\"%s\",\"object\":\"chat.completion\",\"created\":%lld,\"model\":\"%s\",\"choices\":"
                  "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"", ID, (long long)time(NULL), model);
    for (size_t i = 0; i < events; i++) append(&text, "%s", word(i));
    append(&text, "\"},\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":20,"
                  "\"total_tokens\":%zu,\"completion_tokens\":%zu}}", 20 + events, events);
    struct response r = build_json("200 OK", text.bytes);
    free(text.bytes);
    return r;
}

/* ---- state ------------------------------------------------------------------------------------ */

/* One chat completion as the server saw it; the record layout of the stamps file. */
struct stamp {
    char id[ID_MAX];     /* X-Request-Id, empty where the client sent none */
    int64_t arrival_ns;  /* the last byte of the request had been read */
    int64_t first_ns;    /* just before the write that carries the first content event */
    int64_t last_ns;     /* just before the write that carries the last content event */
    int64_t first_written_ns, last_written_ns;  /* just after those writes: the server may lose its core in between */
};

struct connection {
    int fd;
    size_t filled;                    /* bytes of `input` read so far */
    const struct response *response;  /* being written; NULL while waiting for a request */
    bool ticked;                      /* has had a paced response */
    size_t step, sent;                /* steps that are due; bytes written */
    bool close_after, recorded;
    int64_t due_ns;                   /* when the next step is due */
    size_t slot;                      /* position in the heap, or NOT_QUEUED */
    struct stamp stamp;
    char input[REQUEST_MAX];
};

#define NOT_QUEUED SIZE_MAX

static struct {
    int poll, listener;
    bool paced;
    int64_t ttft_ns, itl_ns;
    struct response stream, completion, models, health, not_found, bad_request;
    struct connection **heap; /* paced connections, the next due first */
    size_t queued, heap_capacity;
    uint64_t staggered; /* connections that were given their place within a gap */
    const char *stamps_path;
    struct stamp *stamps;
    size_t stamp_count, stamp_capacity;
} server;

static volatile sig_atomic_t stopping;

static void on_signal(int number) {
    (void)number;
    stopping = 1;
}

/* ---- the heap of due times -------------------------------------------------------------------- */

static void place(struct connection *c, size_t slot) {
    server.heap[slot] = c;
    c->slot = slot;
}

static void sift_up(struct connection *c, size_t slot) {
    while (slot > 0 && server.heap[(slot - 1) / 2]->due_ns > c->due_ns) {
        place(server.heap[(slot - 1) / 2], slot);
        slot = (slot - 1) / 2;
    }
    place(c, slot);
}

static void sift_down(struct connection *c, size_t slot) {
    for (;;) {
        size_t child = 2 * slot + 1;
        if (child >= server.queued) break;
        if (child + 1 < server.queued && server.heap[child + 1]->due_ns < server.heap[child]->due_ns) child++;
        if (server.heap[child]->due_ns >= c->due_ns) break;
        place(server.heap[child], slot);
        slot = child;
    }
    place(c, slot);
}

static void enqueue(struct connection *c) {
    if (server.queued == server.heap_capacity) {
        server.heap_capacity = 2 * server.heap_capacity + 64;
        server.heap = grown(server.heap, server.heap_capacity * sizeof *server.heap);
    }
    sift_up(c, server.queued++);
}

static void dequeue(struct connection *c) {
    size_t slot = c->slot;
    c->slot = NOT_QUEUED;
    struct connection *last = server.heap[--server.queued];
    if (last == c) return;
    sift_up(last, slot);
    sift_down(last, last->slot);
}

/* ---- writing ---------------------------------------------------------------------------------- */

static void close_connection(struct connection *c) {
    if (c->slot != NOT_QUEUED) dequeue(c);
    close(c->fd);
    free(c);
}

static void keep_stamp(const struct stamp *stamp) {
    if (server.stamp_count == server.stamp_capacity) {
        server.stamp_capacity = 2 * server.stamp_capacity + 4096;
        server.stamps = grown(server.stamps, server.stamp_capacity * sizeof *server.stamps);
    }
    server.stamps[server.stamp_count++] = *stamp;
}

/* Write what is due. False when the connection is gone. */
static bool flush(struct connection *c) {
    const struct response *r = c->response;
    size_t due = r->ends[c->step - 1];
    while (c->sent < due) {
        ssize_t written = send(c->fd, r->bytes + c->sent, due - c->sent, MSG_NOSIGNAL);
        if (written < 0) {
            if (errno == EAGAIN) return true; /* EPOLLOUT brings us back */
            if (errno == EINTR) continue;
            close_connection(c);
            return false;
        }
        c->sent += (size_t)written;
    }
    if (c->step == 1) c->stamp.first_written_ns = now_ns();
    if (c->step < r->steps) return true;
    c->stamp.last_written_ns = now_ns();
    if (c->recorded && server.stamps_path != NULL) keep_stamp(&c->stamp);
    c->response = NULL;
    if (c->close_after) {
        close_connection(c);
        return false;
    }
    return true;
}

static bool write_next_step(struct connection *c) {
    c->step++;
    int64_t now = now_ns();
    if (c->step == 1) c->stamp.first_ns = now;
    if (c->step == c->response->steps) {
        c->stamp.last_ns = now;
        if (c->slot != NOT_QUEUED) dequeue(c);
    } else {
        c->due_ns += server.itl_ns;
        sift_down(c, c->slot);
    }
    return flush(c);
}

static bool start(struct connection *c, const struct response *response) {
    c->response = response;
    c->step = c->sent = 0;
    c->recorded = response == &server.stream || response == &server.completion;
    if (response != &server.stream || !server.paced) return write_next_step(c);
    c->due_ns = c->stamp.arrival_ns + server.ttft_ns;
    if (!c->ticked) {
        /* Streams that all tick at one instant would wake a client once for hundreds of events, and a client
           that issues a little slower more often: connections are spread over one gap, by the golden ratio. */
        c->ticked = true;
        double turn = (double)server.staggered++ * 0.6180339887498949;
        c->due_ns += (int64_t)((turn - (double)(int64_t)turn) * (double)server.itl_ns);
    }
    enqueue(c);
    return true;
}

/* ---- requests --------------------------------------------------------------------------------- */

/* The value of a header, or NULL. `head` runs from the request line to the empty line. */
static const char *header(const char *head, size_t length, const char *name, size_t *value_length) {
    size_t name_length = strlen(name);
    const char *line = head, *end = head + length;
    while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL && ++line + name_length < end) {
        if (strncasecmp(line, name, name_length) != 0 || line[name_length] != ':') continue;
        const char *value = line + name_length + 1;
        while (*value == ' ') value++;
        *value_length = strcspn(value, "\r\n");
        return value;
    }
    return NULL;
}

static bool is(const char *head, const char *start_of_line) {
    return strncmp(head, start_of_line, strlen(start_of_line)) == 0;
}

static bool refuse(struct connection *c) {
    c->close_after = true;
    return start(c, &server.bad_request);
}

static bool answer(struct connection *c, const char *head, const char *body, size_t body_length) {
    if (is(head, "GET /health ")) return start(c, &server.health);
    if (is(head, "GET /v1/models ")) return start(c, &server.models);
    if (!is(head, "POST /v1/chat/completions ")) return start(c, &server.not_found);
    bool stream = memmem(body, body_length, "\"stream\":true", 13) || memmem(body, body_length, "\"stream\": true", 14);
    return start(c, stream ? &server.stream : &server.completion);
}

/* Answer the requests that are complete, one at a time. False when the connection is gone. */
static bool serve(struct connection *c) {
    while (c->response == NULL && c->filled > 0) {
        const char *blank = memmem(c->input, c->filled, "\r\n\r\n", 4);
        if (blank == NULL) return c->filled < REQUEST_MAX || refuse(c);
        size_t head = (size_t)(blank - c->input) + 4, value_length, body = 0;
        const char *value = header(c->input, head, "content-length", &value_length);
        if (value != NULL) body = strtoul(value, NULL, 10);
        if (header(c->input, head, "transfer-encoding", &value_length) || body > REQUEST_MAX - head) return refuse(c);
        if (c->filled < head + body) return true;

        c->stamp = (struct stamp){.arrival_ns = now_ns()};
        value = header(c->input, head, "x-request-id", &value_length);
        if (value != NULL) {
            if (value_length >= ID_MAX) return refuse(c);
            memcpy(c->stamp.id, value, value_length);
        }
        value = header(c->input, head, "connection", &value_length);
        if (value != NULL && strncasecmp(value, "close", 5) == 0) c->close_after = true;
        if (!answer(c, c->input, c->input + head, body)) return false;
        c->filled -= head + body;
        memmove(c->input, c->input + head + body, c->filled);
    }
    return true;
}

/* Sockets are edge-triggered: read until the kernel has no more. */
static void on_socket(struct connection *c, uint32_t events) {
    if ((events & EPOLLOUT) && c->response != NULL && c->step > 0 && !flush(c)) return;
    while (c->filled < REQUEST_MAX) {
        size_t room = REQUEST_MAX - c->filled;
        ssize_t count = recv(c->fd, c->input + c->filled, room, 0);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) break;
        if (count <= 0) {
            close_connection(c);
            return;
        }
        c->filled += (size_t)count;
        /* A short read has emptied the socket, unless the peer has closed. */
        if ((size_t)count < room && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) break;
    }
    serve(c);
}

static void accept_all(void) {
    for (;;) {
        int fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN) return;
            if (errno == EINTR || errno == ECONNABORTED) continue;
            die("accept");
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct connection *c = grown(NULL, sizeof *c);
        memset(c, 0, offsetof(struct connection, input));
        c->fd = fd;
        c->slot = NOT_QUEUED;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
        if (epoll_ctl(server.poll, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
    }
}

/* ---- the loop --------------------------------------------------------------------------------- */

static void run(const sigset_t *while_waiting) {
    struct epoll_event events[BATCH];
    while (!stopping) {
        struct timespec wait = {0};
        if (server.queued > 0) {
            int64_t left = server.heap[0]->due_ns - now_ns();
            if (left > 0) wait = (struct timespec){.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        }
        int count = epoll_pwait2(server.poll, events, BATCH, server.queued > 0 ? &wait : NULL, while_waiting);
        if (count < 0 && errno != EINTR) die("epoll_pwait2");
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) accept_all();
            else on_socket(events[i].data.ptr, events[i].events);
        }
        for (int i = 0; i < TIMERS_PER_TURN && server.queued > 0 && server.heap[0]->due_ns <= now_ns(); i++) {
            struct connection *c = server.heap[0];
            if (write_next_step(c) && c->response == NULL) serve(c);
        }
    }
}

static int listen_on(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&address, length) < 0) die("bind");
    if (listen(fd, 4096) < 0) die("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) die("getsockname");
    printf("listening %u\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void write_stamps(void) {
    FILE *file = fopen(server.stamps_path, "wb");
    if (file == NULL) die(server.stamps_path);
    if (fwrite(server.stamps, sizeof *server.stamps, server.stamp_count, file) != server.stamp_count) die("stamps");
    if (fclose(file) != 0) die("stamps");
}

static _Noreturn void usage(void) {
    fprintf(stderr, "usage: server [--port N] [--events N] [--at-once | --paced [--ttft-ms X] [--itl-ms X]]\n"
                    "              [--model NAME] [--stamps FILE]\n");
    exit(2);
}

static double number(const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most)) usage();
    return value;
}

int main(int argc, char **argv) {
    enum { PORT, EVENTS, AT_ONCE, PACED, TTFT, ITL, MODEL, STAMPS };
    static const struct option options[] = {
        {"port", required_argument, NULL, PORT},     {"events", required_argument, NULL, EVENTS},
        {"at-once", no_argument, NULL, AT_ONCE},     {"paced", no_argument, NULL, PACED},
        {"ttft-ms", required_argument, NULL, TTFT},  {"itl-ms", required_argument, NULL, ITL},
        {"model", required_argument, NULL, MODEL},   {"stamps", required_argument, NULL, STAMPS},
        {0},
    };
    uint16_t port = 0;
    size_t events = 128;
    const char *model = "mock";
    server.ttft_ns = 50000000;
    server.itl_ns = 10000000;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case PORT: port = (uint16_t)number(optarg, 0, 65535); break;
        case EVENTS: events = (size_t)number(optarg, 1, 1e6); break;
        case AT_ONCE: server.paced = false; break;
        case PACED: server.paced = true; break;
        case TTFT: server.ttft_ns = (int64_t)(number(optarg, 0, 1e6) * 1e6); break;
        case ITL: server.itl_ns = (int64_t)(number(optarg, 0.001, 1e6) * 1e6); break;
        case MODEL: model = optarg; break;
        case STAMPS: server.stamps_path = optarg; break;
        default: usage();
        }
    }
    if (optind != argc || strlen(model) > 100) usage();

    struct response models = {0};
    append(&models, "{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"object\":\"model\",\"owned_by\":\"bench\","
                    "\"max_model_len\":1048576}]}", model);
    server.stream = build_stream(events, server.paced, model);
    server.completion = build_completion(events, model);
    server.models = build_json("200 OK", models.bytes);
    server.health = build_json("200 OK", "{}");
    server.not_found = build_json("404 Not Found", "{\"error\":{\"message\":\"no such path\"}}");
    server.bad_request = build_json("400 Bad Request", "{\"error\":{\"message\":\"chunked, too long, or its id is\"}}");

    /* Signals arrive only while waiting, so that none is lost between the check and the wait. */
    sigset_t blocked, while_waiting;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, &while_waiting);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1UL); /* the default would make every event 50 us late */

    server.poll = epoll_create1(EPOLL_CLOEXEC);
    if (server.poll < 0) die("epoll_create1");
    server.listener = listen_on(port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(server.poll, EPOLL_CTL_ADD, server.listener, &event) < 0) die("epoll_ctl");
    run(&while_waiting);
    if (server.stamps_path != NULL) write_stamps();
    return 0;
}
