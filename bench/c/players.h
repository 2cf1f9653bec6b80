// One player and what the protocols tell the generator about it.
#ifndef PLAYERS_H
#define PLAYERS_H
#include "common.h"

// A player of RTMP or RTSP has answered its server a few times before media come, and the kernel then acknowledges
// what comes in steps, in the sender's context (an "interactive" session). One that never said a word acknowledges
// each read on its own core instead: the floor's players must do as the others do.
enum { ANSWERS = 4 };

typedef enum { IDLE, CONNECTING, STARTING, WAITING, PLAYING, DEAD } state_t;

typedef struct player player_t;

typedef struct { // one socket in an epoll set
    player_t *player;
    int fd;
    bool datagrams, rtcp, video;
    uint16_t sequence;
    bool started;
    uint64_t lost;
} source_t;

struct player {
    int index, answers;
    state_t state;
    bool probe, was_playing;
    source_t tcp;
    source_t media[4]; // RTP and RTCP of up to two tracks
    void *protocol;
    uint64_t bytes, frames, bytes_at, frames_at, lost_at;
    int64_t connected, requested, keyed, last_data, longest_gap;
    int64_t first_read, last_read;                  // within the window, and the pictures had by then
    uint64_t first_frames, last_frames, arrivals;
};

typedef struct {
    const char *name;
    void (*open)(player_t *);                      // before connecting
    void (*connected)(player_t *);                 // the socket is open: say hello
    void (*data)(player_t *, uint8_t *, size_t);   // bytes of the TCP connection
    void (*tick)(player_t *);                      // about once a second while playing
    bool udp_only;
} protocol_t;

extern const protocol_t RTMP, HTTP_FLV, RTSP_TCP, RTSP_UDP, RAW_RTMP, RAW_RTSP, RAW_UDP;
extern struct sockaddr_in server;
extern char server_host[128];
extern const char *server_path, *server_url;
extern int raw_chunk;

void player_dies(player_t *p);
void player_answers(player_t *p);               // to the floor, whose players ask for nothing: see ANSWERS
void player_requests(player_t *p);              // the play request goes out now
void player_frame(player_t *p, bool key_done);  // one picture has come; key_done: it was a whole key frame
void player_stamp(player_t *p, uint8_t *head, size_t size);
void player_send(player_t *p, const void *data, size_t size);
void watch(source_t *s, uint32_t events, bool change);
int udp_socket(player_t *p, int slot, int port, bool rtcp, bool video);
uint64_t player_lost(const player_t *p);
void rtp_packet(player_t *p, source_t *s, uint8_t *packet, size_t have, size_t size);
#endif
