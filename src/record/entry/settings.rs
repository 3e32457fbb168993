//! A configuration, as far as it decides what a session does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{codec_number, codec_of, nanos};
use crate::audio::VoiceActivity;
use crate::config::{AudioIn, AudioOut};
use crate::{AudioIdle, Codec, Config, FrameTime, PacketTime, Redundancy};

/// The settings that decide what a session does. Times are in nanoseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) connecting: u64,
    pub(crate) ice: u64,
    pub(crate) channel: u64,
    pub(crate) liveness: u64,
    pub(crate) disconnected: u64,
    pub(crate) linger: u64,
    pub(crate) mtu: u64,
    pub(crate) in_rate: u32,
    pub(crate) in_channels: u8,
    pub(crate) in_decode: bool,
    pub(crate) in_reorder_wait: u64,
    /// 0 as it comes.
    pub(crate) in_frame_ms: u8,
    pub(crate) out_rate: u32,
    pub(crate) out_channels: u8,
    pub(crate) out_packet_ms: u8,
    /// 0 silence, 1 DTX, 2 nothing.
    pub(crate) out_idle: u8,
    pub(crate) out_bitrate: u32,
    pub(crate) out_complexity: u8,
    /// 0 off, 1 by loss, 2 always.
    pub(crate) out_redundancy: u8,
    pub(crate) out_encoded: bool,
    pub(crate) null_codec: bool,
    /// In the order of preference.
    pub(crate) audio_codecs: Vec<u8>,
    /// Percent, and the least lengths of speech and silence.
    pub(crate) voice: Option<(u8, u64, u64)>,
    pub(crate) libopus: bool,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Settings {
        let (within, out) = (config.audio_in, config.audio_out);
        Settings {
            connecting: nanos(config.connecting_timeout),
            ice: nanos(config.ice_timeout),
            channel: nanos(config.channel_timeout),
            liveness: nanos(config.liveness_timeout),
            disconnected: nanos(config.disconnected_timeout),
            linger: nanos(config.linger),
            mtu: config.mtu as u64,
            in_rate: within.rate,
            in_channels: within.channels,
            in_decode: within.decode,
            in_reorder_wait: nanos(within.reorder_wait),
            in_frame_ms: match within.frame {
                FrameTime::Ms10 => 10,
                FrameTime::Ms20 => 20,
                FrameTime::AsItComes => 0,
            },
            out_rate: out.rate,
            out_channels: out.channels,
            out_packet_ms: u8::try_from(out.packet_time.duration().as_millis())
                .expect("a packet has at most 60 ms"),
            out_idle: match out.idle {
                AudioIdle::Silence => 0,
                AudioIdle::Dtx => 1,
                AudioIdle::Nothing => 2,
            },
            out_bitrate: out.bitrate,
            out_complexity: out.complexity,
            out_redundancy: match out.redundancy {
                Redundancy::Off => 0,
                Redundancy::ByLoss => 1,
                Redundancy::Always => 2,
            },
            out_encoded: out.encoded,
            null_codec: config.dangerous.null_codec,
            libopus: config.libopus,
            audio_codecs: config.audio_codecs.iter().map(|codec| codec_number(*codec)).collect(),
            voice: config.voice_activity.map(|voice| {
                let VoiceActivity { threshold_percent, min_speech, min_silence } = voice;
                (threshold_percent, nanos(min_speech), nanos(min_silence))
            }),
        }
    }

    /// The configuration; `None` when it is not one that can be made.
    pub(crate) fn config(&self) -> Option<Config> {
        let config = Config::new()
            .connecting_timeout(Duration::from_nanos(self.connecting))
            .ice_timeout(Duration::from_nanos(self.ice))
            .channel_timeout(Duration::from_nanos(self.channel))
            .liveness_timeout(Duration::from_nanos(self.liveness))
            .disconnected_timeout(Duration::from_nanos(self.disconnected))
            .linger(Duration::from_nanos(self.linger))
            .mtu(usize::try_from(self.mtu).ok()?)
            .ok()?
            .audio_in(self.in_rate, self.in_channels)
            .ok()?
            .audio_in_reorder_wait(Duration::from_nanos(self.in_reorder_wait))
            .ok()?
            .audio_in_frames(match self.in_frame_ms {
                10 => FrameTime::Ms10,
                20 => FrameTime::Ms20,
                0 => FrameTime::AsItComes,
                _ => return None,
            })
            .audio_out(self.out_rate, self.out_channels)
            .ok()?
            .audio_bitrate(self.out_bitrate)
            .ok()?
            .audio_complexity(self.out_complexity)
            .ok()?
            .audio_packet_time(match self.out_packet_ms {
                10 => PacketTime::Ms10,
                20 => PacketTime::Ms20,
                40 => PacketTime::Ms40,
                60 => PacketTime::Ms60,
                _ => return None,
            })
            .audio_idle(match self.out_idle {
                0 => AudioIdle::Silence,
                1 => AudioIdle::Dtx,
                2 => AudioIdle::Nothing,
                _ => return None,
            })
            .audio_out_redundancy(match self.out_redundancy {
                0 => Redundancy::Off,
                1 => Redundancy::ByLoss,
                2 => Redundancy::Always,
                _ => return None,
            });
        let codecs: Vec<Codec> = self.audio_codecs.iter().map(|codec| codec_of(*codec)).collect();
        let config = config.audio_codecs(&codecs).ok()?;
        let voice = match self.voice {
            None => None,
            Some((threshold, min_speech, min_silence)) => {
                let voice = VoiceActivity::new().threshold(threshold).ok()?;
                let voice = voice.min_speech(Duration::from_nanos(min_speech)).ok()?;
                Some(voice.min_silence(Duration::from_nanos(min_silence)).ok()?)
            }
        };
        let mut config = config.dangerous().null_codec(self.null_codec).done();
        config.libopus = self.libopus;
        config.audio_in = AudioIn { decode: self.in_decode, ..config.audio_in };
        config.audio_out = AudioOut { encoded: self.out_encoded, ..config.audio_out };
        config.voice_activity = voice;
        Some(config)
    }
}
