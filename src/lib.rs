//! Ringway: web browsers on one side, the organisation's telephones on the other.
//!
//! A B2BUA (each call is two dialogs that know nothing of each other) and a media gateway (each call is two media legs that
//! share nothing but sound) in one process. This page is the architecture's home: start here, then open the page of the
//! room that you came for.
//!
//! # The rules that hold the house up
//! 1. **Protocols are values, not threads.** All that decides takes `(now, input, &mut out)` and owns no socket, clock,
//!    chance or `await`. The world lives in [`io`] alone. So a 32-second timer, a lost ACK or a crossing CANCEL is tested in
//!    a millisecond, from a seed (`tests/simulator.rs`).
//! 2. **Two halves that never import each other.** [`signalling`] and [`media`] meet in one module of plain data, [`plan`].
//! 3. **One owner, no locks.** One task owns the engine; each media worker, a thread, owns its sockets, slots and legs. Bounded
//!    queues between them, each with a policy for when it is full, written where it is made.
//! 4. **Decided at negotiation, straight-line per packet.** How a leg hears another ([`plan::Path`]) is fixed when SDP is agreed; a packet
//!    meets one `match`, no allocation, lock, log line or `await` (`tests/no_alloc.rs`).
//! 5. **Peers' quirks are data**: `sip-profiles/*.toml`, `dialplan/*.toml`. No vendor's name in a `.rs` file.
//! 6. **State can travel.** Calls, dialogs, legs and bindings are plain data without handles; what lives elsewhere (accounts,
//!    media ports) is asked for as an output and answered as an input.
//!
//! Rules 1 and 2 fail the build, not the review: `.clippy.toml` bans clocks, sockets, threads and locks in the sans-IO rooms,
//! `tests/layering.rs` holds who may import whom.
//!
//! # The rooms, ground floor first
//! | room | what it is |
//! |---|---|
//! | [`base`] | time as a parameter, seeded chance, named deadlines, redaction, prefetch |
//! | [`wire`] | bytes to types and back: `sip`, `sdp`, `rtp`; no state, no clock |
//! | [`policy`] | profiles (how a kind of peer speaks), the dialplan (where a number goes), accounts (who someone is) |
//! | [`plan`] | all that crosses between the halves |
//! | [`signalling`] | `transaction`, `dialog`, `registrar`, `auth`, `offer`, `call`, `message`, `notifier`, joined by id in `engine` |
//! | [`media`] | `ice`, `dtls`, `srtp`, `codec`, `rewrite`, `transcode`, `dtmf`, joined by leg in `Core` |
//! | [`io`] | `net` (UDP, HTTPS, WebSocket, the engine's task), `worker` (the media threads), `store` (SQLite), `page` |
//! | [`app`] | configuration, the commands of the binary, the wiring |
//!
//! `base <- wire <- policy, plan <- signalling | media <- io <- app`.
//!
//! # The two ways through the house
//! **A SIP message**
//! ```text
//! WebSocket message | datagram -> io::net -> Input::Message -> signalling::engine::Engine::handle
//!   wire::sip::Message::parse, check            what cannot be answered is dropped; a defect is answered with 400 or 505
//!   transaction::Table::receive_*               a retransmission stops here
//!   request in a dialog   -> dialog::Dialog::receive -> call::Call::on_*
//!   REGISTER, INVITE      -> auth -> Output::Query -> Input::Account -> registrar | policy::dialplan::Dialplan::route
//!                         -> a call::Leg with its offer::OfferAnswer -> call::Call::start
//!   call::ring            says who rings: each device a leg of its own; the first answer is joined with the caller
//!   REFER, Replaces       -> engine/refer.rs -> a leg takes another's place (call/transfer.rs)
//!   MESSAGE               -> auth -> message::Messenger -> every device of the addressee, or Output::KeepMessage -> io::store
//!   SUBSCRIBE, PUBLISH    -> auth -> notifier::Notifier -> NOTIFY, whenever registrar, calls or store have news for it
//!   response              -> its transaction's owner -> call::Call::on_provisional | on_answer | on_failure
//! call::Action -> engine/act.rs writes the message -> transaction -> Output::Send
//!              -> Output::Media(plan::MediaCommand) -> io::worker, to the worker of the leg
//!                                                                           plan::MediaEvent -> Input::Media
//! ```
//! **A packet** (one worker, run to completion)
//! ```text
//! recvmmsg (of a port that a leg has for its own: recvfrom) into slots -> media::Core::handle_datagram
//!   first byte: STUN | DTLS | RTP | RTCP | drop(why)                       RFC 7983, RFC 5761
//!   leg by (socket, remote), or by ICE user fragment for STUN from a new address
//!     a leg that has moved to another worker: through a ring to that one's Core::handle_datagram
//!   srtp unprotect in place -> to the leg that hears it: Rewrite | Transcode -> srtp protect in place -> one sendmmsg a turn
//! a leg may hear no other but music, ringing, a tone: a clock of its own (media/voice.rs)
//! ```
//!
//! # Where the house differs from its first drawing, and why
//! - **No `Relay` path.** Each leg has an SSRC, sequence numbers and RTCP reports of its own, so a header that is passed on
//!   untouched is never right; [`plan::Path::Rewrite`] leaves the payload alone and costs 0.03 of what libopus alone takes to
//!   transcode, SRTP included (`cargo bench --bench transcode`).
//! - **The leg, not the call, is what both halves name** ([`plan::LegId`]): media is told what each leg hears
//!   ([`plan::Source`]), and knows no calls. So a branch that rings, a party that is transferred and a page that comes back
//!   are the same thing: a leg that hears another one from now on, its own numbers going on unbroken.
//! - **Classic legs share a port, too**, unless their far side is behind a NAT ([`plan::RtpPort`]): who sends from where its SDP
//!   says is found by that address, and read and sent in batches. A port for each leg costs the kernel more a packet
//!   (`tests/bench/README.md`), and an administrator thousands of holes in a firewall. SDP proves nothing: an address that one leg has
//!   is no other's until that ends. But who names one before its owner does would have it, so that peers who may share are
//!   those that the configuration trusts not to be behind a NAT.
//! - **What a leg ought to hear is worked out from how things stand** (`call/media.rs`), after every event, and media is told
//!   what has changed; no event has to know what to undo.
//! - **A re-INVITE is answered by its own leg and never crosses**: hold, late offers, ICE restarts and session timers end where
//!   they came from; the other side hears music and nothing else of it. The gateway proposes descriptions only to refresh, and
//!   where a browser is heard less well than it could be (`call/proposal.rs`): Opus in place of G.711 of which much is lost, all
//!   of its voice once it is not a phone any more that hears it.
//! - **Transfer needs nothing of the two that are joined**: the gateway carries REFER out itself, and neither is invited anew
//!   but for such a proposal.
//! - **What follows from a call's action is done after all that was said before it** (`engine/mod.rs`, a queue): a leg that is
//!   told two things by one event hears the later one last.
//! - **A call says [`signalling::call::Action`]s and writes no SIP**; the engine's `act.rs` is the one place where a call's
//!   messages are written. So the call machine is tested without a byte, and the bytes without a call.
//! - **Responses to a 2xx's retransmission are the transaction table's**: it keeps the ACK. The call may be gone long before
//!   its peer stops repeating itself.
//! - **`rusqlite` with one writer thread** rather than sqlx: one machine, no second database yet; the store's face is six
//!   methods (`io::store::StoreHandle`), behind which another may stand.
//! - **A UDP port a media worker**, not one for all: the kernel hands each packet to the worker that has its leg, and only legs
//!   that moved since have theirs passed on between workers. Legs that hear each other are always one worker's; signalling
//!   knows of no workers, it says what is heard, and whoever must move for that moves without a gap (`io/worker/moves.rs`).
//! - **The engine turns once a millisecond at most** (`io/net/drive.rs`) and finds what has come since: going to sleep and waking up
//!   for each message cost more than the message. What comes alone is done at once. A media worker that is idle half of the time
//!   waits, too: 1.25 to 2.5 ms from turn to turn (`io/worker/pace.rs`).
//! - **Ports rest with their sockets open** (`io/worker/outbox.rs`): making four sockets was a seventh of what a call cost.
//! - **Encoding follows need**: a direction in which nobody speaks is not encoded (`media/codec/pause.rs`), FEC is made for the
//!   loss that the far side reports, and a browser is asked for no more than a phone hears. As long as nothing is lost a
//!   phone's voice is encoded by CELT alone, in half of the time that SILK takes (`media/codec/opus_sys.rs`). Wherever a far
//!   side's decoder has heard something else meanwhile, Opus begins anew with a packet that leans on none before it.
//! - **Little is kept of a browser's way in**: its checks are answered here, without the agent of `is` (`media/ice.rs`), and its
//!   DTLS connection settles 5 s after the handshake into what can say and hear its end (`media/dtls/settled.rs`). Both were
//!   16 kB a leg, kept for nothing.
//! - **Tags end in their leg's id**, so that a leg is found by its tag without a table.
//! - **What is kept is gathered and packed**: calls and SIP messages wait 100 ms for others to share a transaction, and those of
//!   one call share a row (`io/store/trace.rs`). One by one they cost more than the calls themselves.
//! - **No room for traces**: each SIP message crosses one output ([`signalling::engine::Output::Trace`]) into the store, and
//!   `ringway ladder`, its `--pcap` and the tests all read that.
//! - **Who has proven nothing costs no state**: a request outside a dialog without a good answer to a challenge is answered 401
//!   before it has a transaction. A SUBSCRIBE is asked within its dialog too: its NOTIFYs go where it came from.
//! - **The one XML document that comes in** (PUBLISH) is read by quick-xml as a stream of events, to a bounded depth and without
//!   entities; those that go out are written by hand (`notifier/document.rs`): neither needs a tree.
//! - **Payload types and SSRCs are plain numbers in `wire::rtp`** and newtypes in `plan`: wire may not import plan.

pub mod app;
pub mod base;
pub mod io;
pub mod media;
pub mod plan;
pub mod policy;
pub mod signalling;
pub mod wire;
