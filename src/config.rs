//! Every choice that a user can make, with the source of its default.

mod codecs;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::audio::VoiceActivity;
use crate::record::Recording;
use crate::transport::Certificate;
use crate::{AudioCoder, Codec, ConfigError, Redundancy, Ufrag};

/// No wait is longer: a session ends within a bounded time whatever is configured, and a deadline
/// stays far from the end of `Instant`. A day: longer than any call waits for anything.
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Figures are not taken more often: at zero the engine would be due for ever.
const STATS_INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The settings of sessions. Built once, shared by all of them through an `Arc`.
///
/// ```
/// use smallrtc::Config;
/// use std::time::Duration;
///
/// let config = Config::new().connecting_timeout(Duration::from_secs(20)).mtu(1200)?;
/// # Ok::<(), smallrtc::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Config {
    pub(crate) connecting_timeout: Duration,
    pub(crate) ice_timeout: Duration,
    pub(crate) channel_timeout: Duration,
    pub(crate) liveness_timeout: Duration,
    pub(crate) disconnected_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) mtu: usize,
    pub(crate) max_sessions: usize,
    pub(crate) max_half_open: usize,
    pub(crate) node: u16,
    pub(crate) shard: u16,
    pub(crate) audio_codecs: Vec<Codec>,
    /// Opus is coded by libopus where it is built in.
    pub(crate) libopus: bool,
    pub(crate) audio_coders: Vec<(Codec, Arc<dyn AudioCoder>)>,
    pub(crate) audio_in: AudioIn,
    pub(crate) audio_out: AudioOut,
    pub(crate) voice_activity: Option<VoiceActivity>,
    pub(crate) certificate: Option<Certificate>,
    pub(crate) dtls: DtlsVersions,
    pub(crate) snap: bool,
    pub(crate) stats_interval: Option<Duration>,
    pub(crate) recording: Option<Recording>,
    pub(crate) dangerous: Dangerous,
}

/// How received sound is handed to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AudioIn {
    pub(crate) rate: u32,
    pub(crate) channels: u8,
    pub(crate) decode: bool,
    pub(crate) reorder_wait: Duration,
    pub(crate) redundancy: bool,
    pub(crate) frame: FrameTime,
}

/// How sound is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AudioOut {
    pub(crate) rate: u32,
    pub(crate) channels: u8,
    pub(crate) packet_time: PacketTime,
    pub(crate) idle: AudioIdle,
    pub(crate) bitrate: u32,
    pub(crate) complexity: u8,
    pub(crate) redundancy: Redundancy,
    pub(crate) encoded: bool,
}

/// How much sound one packet holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PacketTime {
    /// 10 ms: least delay, most packets.
    Ms10,
    /// 20 ms: what browsers send, and the default.
    #[default]
    Ms20,
    /// 40 ms.
    Ms40,
    /// 60 ms: fewest packets, for small devices.
    Ms60,
}

impl PacketTime {
    /// The duration of a packet.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_millis(match self {
            PacketTime::Ms10 => 10,
            PacketTime::Ms20 => 20,
            PacketTime::Ms40 => 40,
            PacketTime::Ms60 => 60,
        })
    }

    /// How many chunks of 10 ms it holds.
    #[must_use]
    pub fn chunks(self) -> usize {
        match self {
            PacketTime::Ms10 => 1,
            PacketTime::Ms20 => 2,
            PacketTime::Ms40 => 4,
            PacketTime::Ms60 => 6,
        }
    }
}

/// How much received sound one call of `recv_audio` gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FrameTime {
    /// Exactly 10 ms.
    Ms10,
    /// Exactly 20 ms: what a packet of a browser holds. The default.
    #[default]
    Ms20,
    /// As much of one origin as waits and fits.
    AsItComes,
}

impl FrameTime {
    /// Samples per channel of a frame at this rate, which divides by 100; `None` where sound is
    /// given as it comes.
    #[must_use]
    pub fn samples(self, rate: u32) -> Option<u64> {
        match self {
            FrameTime::Ms10 => Some(u64::from(rate / 100)),
            FrameTime::Ms20 => Some(u64::from(rate / 50)),
            FrameTime::AsItComes => None,
        }
    }
}

/// What is sent while no sound is queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AudioIdle {
    /// Silent packets at full rate, as Pipecat does (`auto_silence`); keeps every receiver's
    /// buffer warm. The default.
    #[default]
    Silence,
    /// One silent packet every 400 ms, as Opus DTX does (RFC 7587 section 3.1.3).
    Dtx,
    /// Nothing, after a packet that says so. When none has come for a second a browser's statistics
    /// count what does not come as concealed, all of it silent.
    Nothing,
}

/// Which versions of DTLS a session speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DtlsVersions {
    /// 1.3 with a peer whose first message offers it, 1.2 with every other. The default.
    #[default]
    Auto,
    /// 1.2 alone (RFC 8827 section 6.5 asks for it of everybody).
    V12,
}

/// Switches that break a promise on purpose. Never in production.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dangerous {
    pub(crate) seeded_dtls: bool,
    pub(crate) scripted_transport: bool,
    pub(crate) null_codec: bool,
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new() -> Config {
        Config {
            connecting_timeout: Duration::from_secs(60),
            ice_timeout: Duration::from_secs(15),
            channel_timeout: Duration::from_secs(10),
            liveness_timeout: Duration::from_secs(5),
            disconnected_timeout: Duration::from_secs(15),
            linger: Duration::from_secs(2),
            mtu: 1150,
            max_sessions: 1024,
            max_half_open: 256,
            node: 0,
            shard: 0,
            audio_in: AudioIn {
                rate: 16_000,
                channels: 1,
                decode: true,
                reorder_wait: Duration::from_millis(60),
                redundancy: true,
                frame: FrameTime::Ms20,
            },
            audio_out: AudioOut {
                rate: 24_000,
                channels: 1,
                packet_time: PacketTime::Ms20,
                idle: AudioIdle::Silence,
                bitrate: 32_000,
                complexity: 5,
                redundancy: Redundancy::Always,
                encoded: false,
            },
            audio_codecs: vec![Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma],
            voice_activity: None,
            audio_coders: Vec::new(),
            libopus: !cfg!(feature = "opus"),
            certificate: None,
            dtls: DtlsVersions::Auto,
            snap: true,
            stats_interval: Some(Duration::from_secs(1)),
            recording: None,
            dangerous: Dangerous::default(),
        }
    }

    /// How long ICE and DTLS may take, counted from the session's birth. 60 s: Pipecat's
    /// `connection_timeout_secs` (`connection.py`). At most a day, as all timeouts here; more
    /// counts as a day.
    #[must_use]
    pub fn connecting_timeout(mut self, timeout: Duration) -> Config {
        self.connecting_timeout = timeout.min(TIMEOUT_MAX);
        self
    }

    /// How long a call that was answered and is not connected stays without an authenticated
    /// check of the peer's (ICE), before it ends as never connected. 15 s: browsers check from
    /// the moment they have the answer, and a page that never does would else hold its place for
    /// the whole of `connecting_timeout`, as in Pipecat's server (60 s, measured on 1.14).
    #[must_use]
    pub fn ice_timeout(mut self, timeout: Duration) -> Config {
        self.ice_timeout = timeout.min(TIMEOUT_MAX);
        self
    }

    /// How long messages wait, once connected, for a data channel. 10 s: Pipecat's
    /// `DATA_CHANNEL_TIMEOUT_SECS` (`connection.py`).
    #[must_use]
    pub fn channel_timeout(mut self, timeout: Duration) -> Config {
        self.channel_timeout = timeout.min(TIMEOUT_MAX);
        self
    }

    /// After how much time without authenticated traffic the session is `Disconnected`. 5 s:
    /// both sides check consent at most every 5 s (RFC 7675 section 5.1), this side every second,
    /// so that five answers are lost before a peer that sends nothing else seems to be gone.
    #[must_use]
    pub fn liveness_timeout(mut self, timeout: Duration) -> Config {
        self.liveness_timeout = timeout.min(TIMEOUT_MAX);
        self
    }

    /// How long a session stays `Disconnected` before it is `Closed` as lost. 15 s: longer than a
    /// change from Wi-Fi to a phone network takes, shorter than the 33 s that aiortc needs
    /// (measured on 1.16).
    #[must_use]
    pub fn disconnected_timeout(mut self, timeout: Duration) -> Config {
        self.disconnected_timeout = timeout.min(TIMEOUT_MAX);
        self
    }

    /// The longest that `close` waits for `peerLeft` and everything queued before it to be
    /// acknowledged. 2 s: three retransmissions over a slow link.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Config {
        self.linger = linger.min(TIMEOUT_MAX);
        self
    }

    /// The largest datagram in bytes. 1150: str0m's default, below the 1200 that every path
    /// carries (RFC 8831 section 5 asks for at most 1200 without path MTU discovery).
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] outside 576..=1500.
    pub fn mtu(mut self, mtu: usize) -> Result<Config, ConfigError> {
        range("mtu", mtu as u64, 576..=1500, "576 to 1500 bytes")?;
        self.mtu = mtu;
        Ok(self)
    }

    /// How many sessions an endpoint holds at once; 1024 by default. One more is refused.
    #[must_use]
    pub fn max_sessions(mut self, sessions: usize) -> Config {
        self.max_sessions = sessions;
        self
    }

    /// How many of an endpoint's sessions may be half-open: answered, and never connected yet. One
    /// more is refused, whatever [`Config::max_sessions`] has room for. 256: as many callers as
    /// come within the 10 s that a slow connect takes when 25 come in a second; each of them holds
    /// memory and timers that it has not paid for with a handshake.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for 0, with which nobody could ever call, and from 16777216 on,
    /// which is more sessions than a ufrag can name.
    pub fn max_half_open(mut self, sessions: usize) -> Result<Config, ConfigError> {
        let most = u64::from(Ufrag::SLOTS - 1);
        range("max_half_open", sessions as u64, 1..=most, "1 to 16777215 sessions")?;
        self.max_half_open = sessions;
        Ok(self)
    }

    /// Where this endpoint stands among others; it is written into every ufrag. 0, 0 by default.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] from 4096 on.
    pub fn place(mut self, node: u16, shard: u16) -> Result<Config, ConfigError> {
        range("node", u64::from(node), 0..=4095, "0 to 4095")?;
        range("shard", u64::from(shard), 0..=4095, "0 to 4095")?;
        self.node = node;
        self.shard = shard;
        Ok(self)
    }

    /// The node of [`Config::place`].
    #[must_use]
    pub fn node(&self) -> u16 {
        self.node
    }

    /// The shard of [`Config::place`].
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// The rate and channels of what `recv_audio` gives. 16000 Hz, one channel: Pipecat's
    /// `audio_in_sample_rate` default (`transport.py`).
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for another rate than 8000, 12000, 16000, 24000, 44100 or
    /// 48000, or channels other than 1 or 2.
    pub fn audio_in(mut self, rate: u32, channels: u8) -> Result<Config, ConfigError> {
        if ![8_000, 12_000, 16_000, 24_000, 44_100, 48_000].contains(&rate) {
            return Err(ConfigError::OutOfRange {
                field: "audio_in rate",
                value: u64::from(rate),
                expected: "8000, 12000, 16000, 24000, 44100 or 48000",
            });
        }
        range("audio_in channels", u64::from(channels), 1..=2, "1 or 2")?;
        self.audio_in = AudioIn { rate, channels, ..self.audio_in };
        Ok(self)
    }

    /// Gives received audio out coded, through `recv_encoded`, and decodes nothing.
    #[must_use]
    pub fn audio_in_encoded(mut self) -> Config {
        self.audio_in.decode = false;
        self
    }

    /// How much sound `recv_audio` gives at once. 20 ms by default: what a packet of a browser
    /// holds (RFC 7587 section 6.1), and the frames that Pipecat's transport hands on (aiortc
    /// decodes 20 ms at a time). A frame is given with its last sample: frames of 20 ms from
    /// packets of 10 ms come with every second packet, and where packets are whole frames nothing
    /// waits.
    #[must_use]
    pub fn audio_in_frames(mut self, time: FrameTime) -> Config {
        self.audio_in.frame = time;
        self
    }

    /// The longest that a gap in received sound waits for packets that were overtaken on their way.
    /// 60 ms: reordering in networks spans a few packets, and a listener notices 100 ms more of
    /// delay. How much of it is waited is what the network has shown: nothing while nothing is
    /// missing, 10 ms in a stream in which no packet was ever overtaken. With zero a gap is filled
    /// at once.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] above 500 ms, beyond which more packets would have to be held
    /// than are.
    pub fn audio_in_reorder_wait(mut self, wait: Duration) -> Result<Config, ConfigError> {
        let wait_ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        range("audio_in_reorder_wait", wait_ms, 0..=500, "0 to 500 ms")?;
        self.audio_in.reorder_wait = wait;
        Ok(self)
    }

    /// Whether a peer that offers to send each packet of sound a second time, in the packet after
    /// it (RED, RFC 2198: `audio/red`), is asked to. On by default: a packet that is lost alone is
    /// heard all the same, as it was said, and without a wait. It costs the peer twice the bytes of
    /// its sound, some 4 KB/s; without it browsers mend losses with in-band FEC, which costs
    /// nothing before the first loss and sounds less like what was said.
    #[must_use]
    pub fn audio_in_redundancy(mut self, on: bool) -> Config {
        self.audio_in.redundancy = on;
        self
    }

    /// Tells when the peer begins and ends to speak, by [`Event::SpeechStarted`] and
    /// [`Event::SpeechStopped`](crate::Event::SpeechStopped), from the sound of the microphone; it
    /// has to be decoded here. By default it is not told: a detector takes 8 KiB and some
    /// microseconds for each packet. Sound is then decoded whether anybody pulls it or not.
    ///
    /// [`Event::SpeechStarted`]: crate::Event::SpeechStarted
    #[cfg(feature = "earshot")]
    #[must_use]
    pub fn voice_activity(mut self, activity: Option<VoiceActivity>) -> Config {
        self.voice_activity = activity;
        self
    }

    /// The rate and channels that sound is coded at; what `send_audio` takes is converted.
    /// 24000 Hz, one channel: Pipecat's `audio_out_sample_rate` default, and what speech
    /// synthesis gives.
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] for another rate than 8000, 12000, 16000, 24000 or 48000 (those
    /// that Opus codes, RFC 6716 section 2), or channels other than 1 or 2.
    pub fn audio_out(mut self, rate: u32, channels: u8) -> Result<Config, ConfigError> {
        if ![8_000, 12_000, 16_000, 24_000, 48_000].contains(&rate) {
            return Err(ConfigError::OutOfRange {
                field: "audio_out rate",
                value: u64::from(rate),
                expected: "8000, 12000, 16000, 24000 or 48000",
            });
        }
        range("audio_out channels", u64::from(channels), 1..=2, "1 or 2")?;
        self.audio_out = AudioOut { rate, channels, ..self.audio_out };
        Ok(self)
    }

    /// How much sound a packet holds; 20 ms by default, as browsers send (RFC 7587 section 6.1).
    #[must_use]
    pub fn audio_packet_time(mut self, time: PacketTime) -> Config {
        self.audio_out.packet_time = time;
        self
    }

    /// What is sent while nothing is queued; silence by default, as Pipecat does.
    #[must_use]
    pub fn audio_idle(mut self, idle: AudioIdle) -> Config {
        self.audio_out.idle = idle;
        self
    }

    /// Sends coded audio as the application gives it, through `send_encoded`, and paces nothing.
    #[must_use]
    pub fn audio_out_encoded(mut self) -> Config {
        self.audio_out.encoded = true;
        self
    }

    /// The Opus bitrate in bits per second; 32000 by default (what fullband speech needs).
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] outside 6000..=510000 (RFC 7587 section 6.1).
    pub fn audio_bitrate(mut self, bits_per_second: u32) -> Result<Config, ConfigError> {
        range("audio_bitrate", u64::from(bits_per_second), 6_000..=510_000, "6000 to 510000")?;
        self.audio_out.bitrate = bits_per_second;
        Ok(self)
    }

    /// The Opus encoder's effort, 0 to 10; 5 by default (measured: 145 us for 20 ms).
    ///
    /// # Errors
    /// [`ConfigError::OutOfRange`] above 10.
    pub fn audio_complexity(mut self, complexity: u8) -> Result<Config, ConfigError> {
        range("audio_complexity", u64::from(complexity), 0..=10, "0 to 10")?;
        self.audio_out.complexity = complexity;
        Ok(self)
    }

    /// Whether packets of sound take a copy of the one before along, to a peer that offers to take
    /// them apart (RED: `audio/red`); to any other none do. [`Redundancy::Always`] by default, as
    /// browsers do once RED is agreed: a bot speaks its first sentence before the first report of
    /// loss comes, and 24 to 30 kbit/s while it speaks are little beside a word that is made up.
    #[must_use]
    pub fn audio_out_redundancy(mut self, redundancy: Redundancy) -> Config {
        self.audio_out.redundancy = redundancy;
        self
    }

    /// The DTLS certificate. Default: one for the process, made at the first session. Give one to
    /// keep its fingerprint over restarts, or to make answers reproducible.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Config {
        self.certificate = Some(certificate);
        self
    }

    /// Which versions of DTLS are spoken. [`DtlsVersions::Auto`] by default: whoever offers 1.3
    /// has the channel open a round trip earlier, and nobody else notices (the table is in the
    /// documentation of [`Config::snap`]). [`DtlsVersions::V12`] is for a peer whose 1.3 fails.
    #[must_use]
    pub fn dtls(mut self, versions: DtlsVersions) -> Config {
        self.dtls = versions;
        self
    }

    /// Whether the SCTP handshake is left out with a peer that offers to (SNAP: `a=sctp-init`,
    /// draft-hancke-tsvwg-snap). On by default: it saves two round trips, and a peer that does not
    /// offer it notices nothing; we never ask for it.
    ///
    /// Round trips from the answer to the channel that is open on both sides, by what the peer can
    /// do, and when the bot's first sound and message leave. A page that does not wait for the
    /// channel to be confirmed may send one trip earlier.
    ///
    /// | peer's DTLS | SNAP | ICE + DTLS + SCTP + channel | bot's sound | bot's messages |
    /// | --- | --- | --- | --- | --- |
    /// | 1.2 | no | 1 + 2 + 2 + 1 = **6** | 2.5 | 5.5 |
    /// | 1.2 | yes | 1 + 2 + 0 + 1 = **4** | 2.5 | 3.5 |
    /// | 1.3 | no | 1 + 1 + 2 + 1 = **5** | 2.5 | 4.5 |
    /// | 1.3 | yes | 1 + 1 + 0 + 1 = **3** | 2.5 | 2.5 |
    /// | 1.2 and 1.3 | no | 1 + 1 + 2 + 1 = **5** | 2.5 | 4.5 |
    /// | 1.2 and 1.3 | yes | 1 + 1 + 0 + 1 = **3** | 2.5 | 2.5 |
    ///
    /// Reasons to turn it off: the draft may still change; a peer that offers it and then shakes
    /// hands all the same has a call without a channel; and the engine draws the value in the
    /// answer from the operating system, so that of two runs of one seed these answers, and nothing
    /// else, differ.
    #[must_use]
    pub fn snap(mut self, on: bool) -> Config {
        self.snap = on;
        self
    }

    /// How often the engine's figures (round trip, loss, jitter) are taken; every second by
    /// default, at most ten times a second, `None` for never.
    #[must_use]
    pub fn stats_interval(mut self, interval: Option<Duration>) -> Config {
        self.stats_interval =
            interval.map(|interval| interval.clamp(STATS_INTERVAL_MIN, TIMEOUT_MAX));
        self
    }

    /// Records every session that is made from now on: see [`record`](crate::record). By default
    /// none.
    #[must_use]
    pub fn record(mut self, recording: Recording) -> Config {
        self.recording = Some(recording);
        self
    }

    /// Switches for simulation and tests. They break promises: no production code calls this.
    pub fn dangerous(self) -> DangerousConfig {
        DangerousConfig { config: self }
    }

    /// The settings, ready to be shared.
    #[must_use]
    pub fn shared(self) -> Arc<Config> {
        Arc::new(self)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("connecting_timeout", &self.connecting_timeout)
            .field("mtu", &self.mtu)
            .field("dtls", &self.dtls)
            .field("snap", &self.snap)
            .field("audio_codecs", &self.audio_codecs)
            .field("libopus", &self.libopus)
            .field("audio_coders", &self.audio_coders)
            .field("audio_in", &self.audio_in)
            .field("audio_out", &self.audio_out)
            .field("dangerous", &self.dangerous)
            .finish_non_exhaustive()
    }
}

/// Switches for simulation and tests; see [`Config::dangerous`].
#[derive(Clone, Debug)]
#[must_use]
pub struct DangerousConfig {
    config: Config,
}

impl DangerousConfig {
    /// Draws DTLS's nonces and timer jitter from the session's seed, so that a run repeats to the
    /// datagram. Whoever knows the seed can then read the traffic.
    pub fn seeded_dtls(mut self, on: bool) -> DangerousConfig {
        self.config.dangerous.seeded_dtls = on;
        self
    }

    /// Replaces ICE, DTLS, SRTP and SCTP by a plain script that is spoken over the same
    /// datagrams (`transport::scripted`). Nothing is encrypted or authenticated.
    pub fn scripted_transport(mut self, on: bool) -> DangerousConfig {
        self.config.dangerous.scripted_transport = on;
        self
    }

    /// Replaces Opus by a cheap, self-describing code that only this crate reads.
    pub fn null_codec(mut self, on: bool) -> DangerousConfig {
        self.config.dangerous.null_codec = on;
        self
    }

    /// Back to the settings.
    #[must_use]
    pub fn done(self) -> Config {
        self.config
    }
}

pub(crate) fn range(
    field: &'static str,
    value: u64,
    range: std::ops::RangeInclusive<u64>,
    expected: &'static str,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::OutOfRange { field, value, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_a_day_is_kept_and_a_longer_one_is_a_day() {
        let timeouts = |timeout| {
            let config = Config::new().connecting_timeout(timeout).channel_timeout(timeout);
            let config = config.liveness_timeout(timeout).disconnected_timeout(timeout);
            let config = config.ice_timeout(timeout);
            let config = config.linger(timeout).stats_interval(Some(timeout));
            let Config { connecting_timeout, channel_timeout, liveness_timeout, .. } = config;
            let Config { ice_timeout, disconnected_timeout, linger, .. } = config;
            let stats = config.stats_interval.unwrap_or_default();
            [
                connecting_timeout,
                ice_timeout,
                channel_timeout,
                liveness_timeout,
                disconnected_timeout,
                linger,
                stats,
            ]
        };
        for longer in [TIMEOUT_MAX, TIMEOUT_MAX + Duration::from_nanos(1), Duration::MAX] {
            assert_eq!(timeouts(longer), [TIMEOUT_MAX; 7]);
        }
        let shorter = TIMEOUT_MAX - Duration::from_nanos(1);
        assert_eq!(timeouts(shorter), [shorter; 7]);
    }

    #[test]
    fn figures_are_taken_ten_times_a_second_and_no_more() {
        let interval = |interval| Config::new().stats_interval(Some(interval)).stats_interval;
        assert_eq!(interval(Duration::ZERO), Some(STATS_INTERVAL_MIN));
        assert_eq!(interval(STATS_INTERVAL_MIN), Some(STATS_INTERVAL_MIN));
        assert_eq!(Config::new().stats_interval(None).stats_interval, None);
    }

    fn refused(result: Result<Config, ConfigError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn numbers_are_taken_up_to_their_limits_and_refused_past_them_by_name() {
        let mtu = |mtu| Config::new().mtu(mtu);
        assert_eq!([576, 1500].map(|bytes| mtu(bytes).unwrap().mtu), [576, 1500]);
        assert_eq!(refused(mtu(575)), "mtu: 575 (expected 576 to 1500 bytes)");
        assert_eq!(refused(mtu(1501)), "mtu: 1501 (expected 576 to 1500 bytes)");
        let half_open = |sessions| Config::new().max_half_open(sessions);
        let taken = [1, 16_777_215].map(|most| half_open(most).unwrap().max_half_open);
        assert_eq!((taken, Config::new().max_half_open), ([1, 16_777_215], 256));
        for sessions in [0, 16_777_216] {
            let told = format!("max_half_open: {sessions} (expected 1 to 16777215 sessions)");
            assert_eq!(refused(half_open(sessions)), told);
        }
        let bitrate = |bits| Config::new().audio_bitrate(bits);
        let taken = [6_000, 510_000].map(|bits| bitrate(bits).unwrap().audio_out.bitrate);
        assert_eq!(taken, [6_000, 510_000]);
        assert_eq!(refused(bitrate(5_999)), "audio_bitrate: 5999 (expected 6000 to 510000)");
        assert_eq!(refused(bitrate(510_001)), "audio_bitrate: 510001 (expected 6000 to 510000)");
        let wait = |wait| Config::new().audio_in_reorder_wait(wait);
        let most = Duration::from_millis(500);
        let taken = [Duration::ZERO, most].map(|it| wait(it).unwrap().audio_in.reorder_wait);
        assert_eq!(taken, [Duration::ZERO, most]);
        assert_eq!(
            refused(wait(most + Duration::from_nanos(1))),
            "audio_in_reorder_wait: 501 (expected 0 to 500 ms)"
        );
        let effort = |effort| Config::new().audio_complexity(effort);
        assert_eq!([0, 10].map(|it| effort(it).unwrap().audio_out.complexity), [0, 10]);
        assert_eq!(refused(effort(11)), "audio_complexity: 11 (expected 0 to 10)");
    }

    #[test]
    fn a_place_is_two_numbers_of_twelve_bits() {
        let config = Config::new().place(4095, 7).unwrap();
        assert_eq!((config.node(), config.shard()), (4095, 7));
        assert_eq!(refused(Config::new().place(4096, 0)), "node: 4096 (expected 0 to 4095)");
        assert_eq!(refused(Config::new().place(0, 4096)), "shard: 4096 (expected 0 to 4095)");
        assert_eq!((Config::new().node(), Config::new().shard()), (0, 0));
    }

    #[test]
    fn sound_comes_at_the_rates_that_are_named_and_no_other() {
        for rate in [8_000, 12_000, 16_000, 24_000, 44_100, 48_000] {
            let within = Config::new().audio_in(rate, 2).unwrap().audio_in;
            assert_eq!((within.rate, within.channels), (rate, 2));
            let out = Config::new().audio_out(rate, 1);
            assert_eq!(out.is_ok(), rate != 44_100, "Opus does not code {rate}");
        }
        assert_eq!(
            refused(Config::new().audio_in(32_000, 1)),
            "audio_in rate: 32000 (expected 8000, 12000, 16000, 24000, 44100 or 48000)"
        );
        assert_eq!(
            refused(Config::new().audio_out(44_100, 1)),
            "audio_out rate: 44100 (expected 8000, 12000, 16000, 24000 or 48000)"
        );
        for channels in [0, 3] {
            let told = |way| format!("{way} channels: {channels} (expected 1 or 2)");
            assert_eq!(refused(Config::new().audio_in(48_000, channels)), told("audio_in"));
            assert_eq!(refused(Config::new().audio_out(48_000, channels)), told("audio_out"));
        }
    }

    #[test]
    fn a_switch_changes_what_it_names_and_leaves_the_rest() {
        let config = Config::new().audio_in(8_000, 2).unwrap().audio_in_encoded();
        let defaults = Config::new().audio_in;
        let within = AudioIn { rate: 8_000, channels: 2, decode: false, ..defaults };
        assert_eq!(config.audio_in, within);
        assert!(Config::new().snap && !Config::new().snap(false).snap);
        let config = Config::new().dtls(DtlsVersions::V12);
        assert_eq!((Config::default().dtls, config.dtls), (DtlsVersions::Auto, DtlsVersions::V12));
        assert!(Config::new().dangerous().null_codec(true).done().audio_in.decode);
    }

    #[test]
    fn a_configuration_prints_its_settings_and_no_certificate() {
        let certificate = Certificate::generate().unwrap();
        let text = format!("{:?}", Config::new().certificate(certificate));
        assert!(text.starts_with("Config { connecting_timeout: 60s, mtu: 1150, "), "{text}");
        assert!(!text.contains("ertificate") && text.ends_with(".. }"), "{text}");
    }
}
