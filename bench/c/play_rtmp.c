// RTMP play: handshake, connect, createStream, play; then counts messages and looks at their first bytes.
#include "players.h"

enum { HEAD = 96, CONTROL = 2048, CHUNK_STREAMS = 64, HELLO = 1536 };
enum { SHAKING, CONNECT_SENT, CREATE_SENT, PLAY_SENT };

typedef struct {
    uint32_t size, left;
    uint8_t type, extended;
} chunk_stream_t;

typedef struct {
    int step;
    uint32_t chunk, window;
    uint64_t received, acknowledged;
    uint8_t *hello;
    size_t hello_size;
    uint8_t header[18];
    int header_size;
    int current;
    uint32_t chunk_left;
    uint8_t body[CONTROL]; // a command, or the first bytes of a media message
    uint32_t body_size;
    chunk_stream_t streams[CHUNK_STREAMS];
} rtmp_t;

static uint8_t *put_key(uint8_t *p, const char *text) {
    size_t n = strlen(text);
    be(p, n, 2);
    memcpy(p + 2, text, n);
    return p + 2 + n;
}
static uint8_t *put_string(uint8_t *p, const char *text) {
    *p = 2;
    return put_key(p + 1, text);
}
static uint8_t *put_number(uint8_t *p, double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    *p = 0;
    be(p + 1, bits, 8);
    return p + 9;
}

static void send_message(player_t *p, int csid, int type, uint32_t stream, const uint8_t *body, size_t size) {
    uint8_t out[2048], *o = out;
    *o++ = (uint8_t)csid;
    be(o, 0, 3);
    be(o + 3, size, 3);
    o[6] = (uint8_t)type;
    for (int i = 0; i < 4; i++) o[7 + i] = (uint8_t)(stream >> 8 * i);
    o += 11;
    for (size_t at = 0; at < size; at += 128) {
        size_t n = size - at < 128 ? size - at : 128;
        if (at) *o++ = (uint8_t)(0xC0 | csid);
        memcpy(o, body + at, n);
        o += n;
    }
    player_send(p, out, (size_t)(o - out));
}

static void send_connect(player_t *p) {
    char app[128], url[300];
    const char *slash = strrchr(server_path, '/');
    snprintf(app, sizeof app, "%.*s", (int)(slash - server_path), server_path);
    snprintf(url, sizeof url, "rtmp://%s/%s", server_host, app);
    uint8_t body[1024], *b = body;
    b = put_number(put_string(b, "connect"), 1);
    *b++ = 3;
    b = put_string(put_key(b, "app"), app);
    b = put_string(put_key(b, "flashVer"), "LNX 9,0,124,2");
    b = put_string(put_key(b, "tcUrl"), url);
    b = put_number(put_key(b, "capabilities"), 15);
    b = put_number(put_key(b, "audioCodecs"), 4071);
    b = put_number(put_key(b, "videoCodecs"), 252);
    b = put_number(put_key(b, "videoFunction"), 1);
    memcpy(b, "\0\0\x09", 3);
    send_message(p, 3, 20, 0, body, (size_t)(b + 3 - body));
}

static void send_play(player_t *p, uint32_t stream) {
    uint8_t body[600], *b = body;
    b = put_number(put_string(b, "play"), 3);
    *b++ = 5;
    b = put_number(put_string(b, strrchr(server_path, '/') + 1), -2000);
    player_requests(p);
    send_message(p, 8, 20, stream, body, (size_t)(b - body));
    uint8_t buffer[10] = {0, 3}; // SetBufferLength 3000 ms
    be(buffer + 2, stream, 4);
    be(buffer + 6, 3000, 4);
    send_message(p, 2, 4, 0, buffer, sizeof buffer);
}

static void on_command(player_t *p, rtmp_t *r, uint8_t *body, uint32_t size) {
    if (size < 3) return;
    uint32_t n = (uint32_t)rd(body + 1, 2);
    char name[32] = "";
    if (n >= sizeof name || n + 3 > size) return;
    memcpy(name, body + 3, n);
    if (!strcmp(name, "_error")) {
        player_dies(p);
    } else if (!strcmp(name, "_result") && r->step == CONNECT_SENT) {
        uint8_t window[4], create[40], *b = create;
        be(window, 2500000, 4);
        send_message(p, 2, 5, 0, window, 4);
        b = put_number(put_string(b, "createStream"), 2);
        *b++ = 5;
        r->step = CREATE_SENT;
        send_message(p, 3, 20, 0, create, (size_t)(b - create));
    } else if (!strcmp(name, "_result") && r->step == CREATE_SENT && size >= n + 3 + 9 + 1 + 9) {
        uint64_t bits = rd(body + n + 3 + 9 + 1 + 1, 8); // after the transaction number and a null
        double stream;
        memcpy(&stream, &bits, 8);
        r->step = PLAY_SENT;
        send_play(p, (uint32_t)stream);
    } else if (!strcmp(name, "onStatus")) {
        if (memmem(body, size, "NotFound", 8) || memmem(body, size, "Failed", 6)) player_dies(p);
    }
}

static void on_message(player_t *p, rtmp_t *r, int type) {
    uint8_t *b = r->body;
    uint32_t size = r->body_size;
    if (type == 9) {
        if (size < 2 || b[1] == 0) return; // a sequence header is no picture
        if (p->probe) player_stamp(p, b, size);
        player_frame(p, b[0] >> 4 == 1);
    } else if (type == 1 && size >= 4) {
        r->chunk = (uint32_t)rd(b, 4) & 0x7FFFFFFF;
        if (!r->chunk) player_dies(p);
    } else if (type == 5 && size >= 4) {
        r->window = (uint32_t)rd(b, 4);
    } else if (type == 4 && size >= 6 && rd(b, 2) == 6) { // ping
        uint8_t pong[6] = {0, 7, b[2], b[3], b[4], b[5]};
        send_message(p, 2, 4, 0, pong, sizeof pong);
    } else if (type == 20) {
        on_command(p, r, b, size);
    } else if (type == 17 && size) {
        on_command(p, r, b + 1, size - 1);
    }
}

static int chunk_id(const uint8_t *h, int *basic) { // RTMP 5.3.1.1
    int id = h[0] & 63;
    *basic = id == 0 ? 2 : id == 1 ? 3 : 1;
    return (id == 0 ? h[1] + 64 : id == 1 ? h[1] + 256 * h[2] + 64 : id) & (CHUNK_STREAMS - 1);
}

static int header_needs(const rtmp_t *r) {
    static const int rest[4] = {11, 7, 3, 0};
    if (!r->header_size) return 1;
    int small = r->header[0] & 63, basic = small == 0 ? 2 : small == 1 ? 3 : 1;
    if (r->header_size < basic) return basic;
    int format = r->header[0] >> 6, need = basic + rest[format];
    if (r->header_size < need) return need;
    int id = chunk_id(r->header, &basic);
    bool extended = format < 3 ? rd(r->header + basic, 3) == 0xFFFFFF : r->streams[id].extended;
    return need + (extended ? 4 : 0);
}

static void take_chunks(player_t *p, rtmp_t *r, uint8_t *data, size_t size) {
    uint8_t *end = data + size;
    while (data < end && p->state != DEAD) {
        if (!r->chunk_left) {
            int need;
            while ((need = header_needs(r)) > r->header_size && data < end) r->header[r->header_size++] = *data++;
            if (need > r->header_size) return;
            int basic, format = r->header[0] >> 6;
            r->current = chunk_id(r->header, &basic);
            chunk_stream_t *s = &r->streams[r->current];
            uint8_t *h = r->header + basic;
            r->header_size = 0;
            if (format < 3) s->extended = rd(h, 3) == 0xFFFFFF;
            if (format < 2) s->size = (uint32_t)rd(h + 3, 3), s->type = h[6];
            if (!s->left) s->left = s->size, r->body_size = 0;
            r->chunk_left = s->left < r->chunk ? s->left : r->chunk;
            if (!s->left) on_message(p, r, s->type);
            continue;
        }
        chunk_stream_t *s = &r->streams[r->current];
        uint32_t n = (size_t)(end - data) < r->chunk_left ? (uint32_t)(end - data) : r->chunk_left;
        uint32_t keep = s->type == 8 || s->type == 9 ? HEAD : CONTROL;
        if (r->body_size < keep) {
            uint32_t room = keep - r->body_size, part = n < room ? n : room;
            memcpy(r->body + r->body_size, data, part);
            r->body_size += part;
        }
        data += n;
        r->chunk_left -= n;
        s->left -= n;
        if (!s->left) {
            on_message(p, r, s->type);
            r->body_size = 0;
        }
    }
}

static void rtmp_open(player_t *p) {
    rtmp_t *r = p->protocol = calloc(1, sizeof *r);
    r->chunk = 128;
    r->window = 2500000;
    r->hello = malloc(1 + 2 * HELLO);
}

static void rtmp_connected(player_t *p) {
    uint8_t hello[1 + HELLO] = {3};
    for (int i = 9; i <= HELLO; i++) hello[i] = (uint8_t)(i * 7);
    player_send(p, hello, sizeof hello);
}

static void rtmp_data(player_t *p, uint8_t *data, size_t size) {
    rtmp_t *r = p->protocol;
    r->received += size;
    if (r->step == SHAKING) {
        size_t n = 1 + 2 * HELLO - r->hello_size;
        if (n > size) n = size;
        memcpy(r->hello + r->hello_size, data, n);
        r->hello_size += n;
        if (r->hello_size < 1 + 2 * HELLO) return;
        player_send(p, r->hello + 1, HELLO);
        free(r->hello);
        r->hello = NULL;
        r->step = CONNECT_SENT;
        send_connect(p);
        data += n;
        size -= n;
    }
    take_chunks(p, r, data, size);
    if (p->state != DEAD && r->window && r->received - r->acknowledged >= r->window) {
        uint8_t total[4];
        be(total, r->received, 4);
        r->acknowledged = r->received;
        send_message(p, 2, 3, 0, total, 4);
    }
}

static void raw_open(player_t *p) {
    rtmp_t *r = p->protocol = calloc(1, sizeof *r);
    r->chunk = (uint32_t)raw_chunk;
}

static void raw_data(player_t *p, uint8_t *data, size_t size) {
    player_answers(p);
    take_chunks(p, p->protocol, data, size);
}

const protocol_t RTMP = {"rtmp", rtmp_open, rtmp_connected, rtmp_data, NULL, false};
const protocol_t RAW_RTMP = {"raw-rtmp", raw_open, player_requests, raw_data, NULL, false};
