//! Offers and answers: building the engine for the first offer, trying later ones on a shadow.
//!
//! The engine's `accept_offer` is not atomic: what it refuses late leaves it half changed. So a
//! first offer is given to a new engine, which is thrown away when it refuses, and a later one to
//! a shadow engine that has been told the same offers as the live one. Only what passes there
//! reaches the live one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::SdpOffer;
use str0m::config::{DtlsCert, DtlsVersion};
use str0m::format::{Codec as EngineCodec, FormatParams};
use str0m::media::{Direction, Frequency, Mid};
use str0m::rtp::Extension;
use str0m::{Candidate, IceCreds, Rtc, RtcConfig, RtcError};

use super::dtls;
use super::output::{LineState, clock, codec};
use super::rng::Entered;
use super::sdp;
use crate::offer::{LineKind, MediaLine};
use crate::transport::{Certificate, IceCredentials, NegotiatedLine};
use crate::{
    Codec, Config, DtlsVersions, LocalCandidate, MediaKind, NegotiateError, Offer, Redundancy,
};

/// Offers that are kept to bring a shadow to the live engine's state: the first, and each that
/// changed the number or the names of the lines. A call adds a camera, a screen, removes them
/// again; at 64 KiB each the bound matters more than a ninth change of shape. At the limit the
/// second oldest goes: the first decides about codecs and extensions, the newest about the lines.
pub(super) const OFFERS_MAX: usize = 8;

/// Bytes that the engine takes for all channels together before they are acknowledged. It must
/// exceed the largest message; what is in flight costs time quadratically, so the session keeps
/// its own window in front.
pub(super) const CHANNEL_BYTES_MAX: usize = 512 * 1024;

/// What the engine adds to a packet of video beyond the MTU that it is given: it counts the tag,
/// but neither the RTP header, 12 bytes, nor its extensions, 4 + 24, nor the two bytes of a
/// repair packet (RFC 4588 section 4). Rounded to words.
const RTP_EXCESS: usize = 44;

/// How often the peer is asked for consent, at most so far apart (RFC 7675 asks for 5 s). 1 s: a
/// client whose microphone is off sends nothing else, and of the engine's three seconds one lost
/// answer is enough to be silent for the five of `Config::liveness_timeout`. Lost ones are
/// repeated after a quarter of a second, a half, and so on.
const CONSENT_INTERVAL: Duration = Duration::from_secs(1);

/// What RTCP counts in.
const WORD: usize = 4;

/// The least MTU that the engine takes.
const ENGINE_MTU_MIN: usize = 576;

/// How much of what is sent on a video line may be repetitions, asked for with NACK. A half: with
/// the engine's own 15 % pictures stop at 20 % loss, where one in four datagrams is a repetition
/// (measured: 1 picture in 5 could be shown); and a peer that asks for everything again doubles
/// what is sent to it, no more.
const REPEATED_MAX: f32 = 0.5;

/// What can be repeated: the engine's own figures.
const REPEATABLE_PACKETS: usize = 1024;
const REPEATABLE_AGE: Duration = Duration::from_secs(3);

/// Below this MTU the engine cannot be told a size at which its packets of video fit, so none are
/// sent.
pub(super) const VIDEO_MTU_MIN: usize = ENGINE_MTU_MIN + RTP_EXCESS;

/// The engine cuts payloads to whole blocks of the cipher below its MTU, less the tag. Opus must
/// not be cut.
const CIPHER_BLOCK: usize = 16;

/// What RTP and SRTP add to an audio frame: header 12, extensions 4 + 24, tag 16 bytes.
const AUDIO_OVERHEAD: usize = 56;

/// The largest message that the peer may send; what browsers take themselves, too.
const MESSAGE_MAX: u32 = 256 * 1024;

/// What an engine is built from.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    mtu: usize,
    stats_interval: Option<Duration>,
    /// In the order of preference.
    audio_codecs: Vec<Codec>,
    /// Whether a peer that offers redundant sound (RED, RFC 2198) is to send it.
    pub(super) takes_copies: bool,
    /// Whether it is to get it.
    sends_copies: bool,
    dtls: DtlsVersion,
    seeded_dtls: bool,
    /// Whether a peer that offers `a=sctp-init` is answered with ours.
    pub(super) snap: bool,
    certificate: Arc<DtlsCert>,
}

impl Settings {
    pub(super) fn new(config: &Config) -> Settings {
        let certificate = match &config.certificate {
            Some(certificate) => certificate.for_engine(),
            None => Certificate::of_process().for_engine(),
        };
        Settings {
            mtu: config.mtu,
            stats_interval: config.stats_interval,
            audio_codecs: config.audio_codecs.clone(),
            takes_copies: config.audio_in.redundancy,
            sends_copies: config.audio_out.redundancy != Redundancy::Off,
            dtls: match config.dtls {
                DtlsVersions::Auto => DtlsVersion::Auto,
                DtlsVersions::V12 => DtlsVersion::Dtls12,
            },
            seeded_dtls: config.dangerous.seeded_dtls,
            snap: config.snap,
            certificate: Arc::new(certificate),
        }
    }

    /// The engine fills RTCP up to its MTU when that is a whole number of words, and then panics,
    /// because it wants less (`poll_feedback`): it is told one byte more. Nothing else comes out
    /// longer by that: RTP is rounded up to words (`RTP_EXCESS`), DTLS down (`super::dtls`).
    fn engine_mtu(&self) -> usize {
        (self.mtu - RTP_EXCESS).max(ENGINE_MTU_MIN) / WORD * WORD + 1
    }

    /// The largest audio frame that fits one packet.
    pub(super) fn audio_max(&self) -> usize {
        let uncut = (self.engine_mtu() - CIPHER_BLOCK) / CIPHER_BLOCK * CIPHER_BLOCK;
        uncut.min(self.mtu - AUDIO_OVERHEAD)
    }

    /// Whether pictures can be sent without exceeding the MTU.
    pub(super) fn sends_video(&self) -> bool {
        self.mtu >= VIDEO_MTU_MIN
    }

    /// An engine without a peer. To be called with the session's generator in place.
    pub(super) fn engine(&self, credentials: &IceCredentials, now: Instant) -> Rtc {
        self.build(credentials, self.seeded_dtls, now)
    }

    fn build(&self, credentials: &IceCredentials, seeded: bool, now: Instant) -> Rtc {
        let mut config = RtcConfig::new()
            .set_local_ice_credentials(creds(credentials))
            .set_crypto_provider(Arc::new(dtls::crypto_provider(seeded)))
            .set_dtls_cert(DtlsCert::clone(&self.certificate))
            .set_dtls_version(self.dtls)
            .clear_codecs()
            .enable_vp8(true)
            .clear_extension_map()
            .set_extension(1, Extension::AudioLevel)
            .set_extension(3, Extension::TransportSequenceNumber)
            .set_extension(4, Extension::RtpMid)
            // Packets come up as they arrive: the audio receiver keeps order and waits itself.
            .set_reordering_size_audio(0)
            .set_sctp_max_buffered_amount(CHANNEL_BYTES_MAX)
            .set_sctp_max_message_size(MESSAGE_MAX)
            .set_stats_interval(self.stats_interval)
            .set_mtu(self.engine_mtu()..=usize::MAX);
        config.set_max_stun_rto(CONSENT_INTERVAL);
        // The answer keeps this order, and what is sent with is the first of it.
        for codec in &self.audio_codecs {
            let codecs = config.codec_config();
            match codec {
                Codec::Opus => codecs.enable_opus(true, self.takes_copies || self.sends_copies),
                Codec::G722 => codecs.enable_g722(true, false),
                Codec::Pcmu => codecs.enable_pcmu(true, false),
                Codec::Pcma => codecs.enable_pcma(true, false),
                Codec::Vp8 | Codec::H264 => {}
            }
        }
        // Keys of a telephone at the clock of Opus, and at that of telephones, which some peers
        // send all the same.
        for (pt, clock) in [(110, Frequency::FORTY_EIGHT_KHZ), (126, Frequency::EIGHT_KHZ)] {
            let (codec, format) = (EngineCodec::Tele, FormatParams::default());
            config.codec_config().add_config(pt.into(), None, codec, clock, None, format);
        }
        // Baseline and constrained baseline in whole pictures (packetization mode 1): what every
        // browser and phone sends (RFC 7742 section 6.2).
        config.codec_config().add_h264(127.into(), Some(121.into()), true, 0x42_001f);
        config.codec_config().add_h264(108.into(), Some(109.into()), true, 0x42_e01f);
        config.build(now)
    }
}

pub(super) fn creds(credentials: &IceCredentials) -> IceCreds {
    IceCreds { ufrag: credentials.ufrag.clone(), pass: credentials.pwd.clone() }
}

/// An offer in the engine's own form, with this `a=sctp-init`.
pub(super) fn parse(offer: &Offer, sctp_init: Option<&str>) -> Result<SdpOffer, NegotiateError> {
    SdpOffer::from_sdp_string(&sdp::for_engine(offer, sctp_init))
        .map_err(|error| NegotiateError::InvalidSdp { reason: one_line(&error.to_string()) })
}

pub(super) fn refused(error: &RtcError) -> NegotiateError {
    NegotiateError::InvalidSdp { reason: one_line(&error.to_string()) }
}

/// The engine's parser explains itself over several lines and quotes what it read.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(200).collect()
}

/// The offers that the live engine has accepted, as far as a shadow needs them.
#[derive(Debug, Default)]
pub(super) struct History(Vec<Offer>);

impl History {
    pub(super) fn last(&self) -> Option<&Offer> {
        self.0.last()
    }

    pub(super) fn push(&mut self, offer: &Offer) {
        let shape = |offer: &Offer| {
            let lines = offer.media().iter();
            lines.map(|line| (line.mid.clone(), line.stopped)).collect::<Vec<_>>()
        };
        if self.0.len() > 1 && self.0.last().is_some_and(|last| shape(last) == shape(offer)) {
            self.0.pop();
        }
        if self.0.len() == OFFERS_MAX {
            self.0.remove(1);
        }
        self.0.push(offer.clone());
    }

    /// Whether an engine that knows these offers, with the `a=sctp-init` that was agreed, would
    /// take this one with its own.
    pub(super) fn allows(
        &self,
        settings: &Settings,
        credentials: &IceCredentials,
        agreed_init: Option<&str>,
        (offer, init): (&Offer, Option<&str>),
        now: Instant,
    ) -> Result<(), NegotiateError> {
        let mut shadow = settings.build(credentials, false, now);
        for known in &self.0 {
            // What the live engine took may be refused here once the history has lost a step.
            let Ok(parsed) = parse(known, agreed_init) else { continue };
            let _ = shadow.sdp_api().accept_offer(parsed);
        }
        let parsed = parse(offer, init)?;
        shadow.sdp_api().accept_offer(parsed).map_err(|error| refused(&error))?;
        usable(&lines(&mut shadow, settings, offer, &[], None).0)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Refuses an offer of which nothing is left.
pub(super) fn usable(lines: &[NegotiatedLine]) -> Result<(), NegotiateError> {
    match lines.iter().all(|line| *line == NegotiatedLine::Rejected) {
        true => Err(NegotiateError::NoUsableMedia),
        false => Ok(()),
    }
}

/// What became of each line of an offer that `rtc` has accepted. A line that was there before
/// keeps its offset of time; for new ones it is drawn from the session's generator, which is in
/// place except on a shadow.
pub(super) fn lines(
    rtc: &mut Rtc,
    settings: &Settings,
    offer: &Offer,
    before: &[Option<LineState>],
    rng: Option<&Entered<'_>>,
) -> (Vec<NegotiatedLine>, Vec<Option<LineState>>) {
    let stopped = sdp::stopped(offer);
    let each = offer.media().iter().zip(stopped).enumerate().map(|(index, (line, stopped))| {
        let rejected = (NegotiatedLine::Rejected, None);
        if stopped {
            return rejected;
        }
        let kind = match line.kind {
            LineKind::Audio => MediaKind::Audio,
            LineKind::Video => MediaKind::Video,
            LineKind::Application => return (NegotiatedLine::Channels, None),
            LineKind::Other => return rejected,
        };
        let mid = Mid::from(line.mid.as_str());
        let known = before.get(index).and_then(Option::as_ref).filter(|known| known.mid == mid);
        let time_offset = match (known, rng) {
            (Some(known), _) => known.time_offset,
            (None, Some(rng)) => rng.draw() as u32,
            (None, None) => 0,
        };
        let may_send = kind == MediaKind::Audio || settings.sends_video();
        if known.is_none() && kind == MediaKind::Video {
            repeat_more(rtc, mid);
        }
        let copies = settings.sends_copies && kind == MediaKind::Audio && takes_red(rtc, line, mid);
        if kind == MediaKind::Audio && !copies {
            // What goes out is not wrapped because the peer's sound is.
            rtc.direct_api().set_red_send(mid, false);
        }
        let state = LineState {
            mid,
            kind,
            sends: may_send,
            codecs: Vec::new(),
            heard: Codec::Opus,
            tone: None,
            time_offset,
            copies,
            copied_len: known.filter(|_| copies).and_then(|known| known.copied_len),
        };
        media_line(rtc, state).unwrap_or(rejected)
    });
    each.unzip()
}

/// Setting the share forgets what could be repeated, so that it is done once, with a new line.
fn repeat_more(rtc: &mut Rtc, mid: Mid) {
    if let Some(stream) = rtc.direct_api().stream_tx_by_mid(mid, None) {
        stream.set_rtx_cache(REPEATABLE_PACKETS, REPEATABLE_AGE, Some(REPEATED_MAX));
    }
}

/// Whether what goes out on a line may be wrapped. The engine agrees on RED once, with the first
/// offer, and would go on with it when a later one has taken it back.
fn takes_red(rtc: &mut Rtc, line: &MediaLine, mid: Mid) -> bool {
    let Some(writer) = rtc.writer(mid) else { return false };
    writer.payload_params().any(|params| params.red().is_some_and(|red| line.takes_red(*red)))
}

/// What became of a line, and `state` with what the engine knows of it. `state.sends` says whether
/// we may send.
fn media_line(rtc: &mut Rtc, mut state: LineState) -> Option<(NegotiatedLine, Option<LineState>)> {
    let direction = rtc.media(state.mid).filter(|media| !media.disabled())?.direction();
    let writer = rtc.writer(state.mid)?;
    let mut tones = Vec::new();
    for params in writer.payload_params() {
        if params.spec().codec == EngineCodec::Tele {
            tones.push((params.spec().clock_rate, params.pt()));
        }
        let Some(codec) = codec(params.spec().codec) else { continue };
        if state.codecs.iter().all(|(known, _)| *known != codec) {
            state.codecs.push((codec, params.pt()));
        }
    }
    state.sends &= matches!(direction, Direction::SendRecv | Direction::SendOnly);
    let receives = matches!(direction, Direction::SendRecv | Direction::RecvOnly);
    let codec = state.codecs.first()?.0;
    state.heard = codec;
    // On the times of the sound that it stands in the place of (RFC 4733 section 2.1).
    let tone = tones.iter().find(|(rate, _)| *rate == clock(codec));
    state.tone = tone.map(|(_, pt)| *pt);
    // RED wraps Opus alone: the other codecs of sound know no copies.
    state.copies &= codec == Codec::Opus;
    let LineState { kind, sends, copies, .. } = state;
    let line = NegotiatedLine::Media { kind, receives, sends, codec, copies };
    Some((line, Some(state)))
}

/// Gives the engine an address of ours and returns the attribute that tells the peer; `None` when
/// it is known already.
///
/// The engine takes packets only for `host` candidates, so a mapped address is a `host` to the
/// engine, by its base, and `srflx` to the peer: its checks arrive at the base.
pub(super) fn add_local(rtc: &mut Rtc, local: &LocalCandidate) -> Option<String> {
    let host = Candidate::host(local.base(), "udp").ok()?;
    let added = rtc.add_local_candidate(host).map(Candidate::to_sdp_string);
    let attribute = if local.advertised() == local.base() {
        added?
    } else {
        let told = Candidate::server_reflexive(local.advertised(), local.base(), "udp").ok()?;
        told.to_sdp_string()
    };
    let without_ufrag = attribute.split(" ufrag ").next().unwrap_or(&attribute);
    Some(without_ufrag.to_owned())
}
