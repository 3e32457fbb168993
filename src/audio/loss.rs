//! How much loss the encoder is to expect, by what the peer reports.
//!
//! In-band FEC costs the packets that arrive some of their bits, so it has to follow the loss
//! there is: soon when it comes, slowly when it goes, and without a change for each report.
//!
//! | expected | begins when the smoothed loss is at least | ends when it is below | the encoder |
//! | --- | --- | --- | --- |
//! | 0 % | | | no FEC, no bit for it |
//! | 1 % | 0.5 % | 0.2 % | codes with less trust in the packet before; FEC where it is cheap |
//! | 5 % | 3 % | 2 % | FEC |
//! | 10 % | 7.5 % | 6 % | FEC of a better quality |
//! | 20 % | 15 % | 12 % | the most that it makes of it |
//!
//! The steps are those of libwebrtc (`OptimizePacketLossRate` in `audio_encoder_opus.cc`). Each
//! begins half-way between its neighbours, and ends at about four fifths of that. More than 20 % is
//! never told: FEC repairs one packet in a row, and libopus makes nothing of more than 25 %.

/// What is told in percent, and the smoothed loss at which it begins and ends, in parts of 10,000.
const STEPS: [(u8, u32, u32); 5] =
    [(0, 0, 0), (1, 50, 20), (5, 300, 200), (10, 750, 600), (20, 1_500, 1_200)];

/// Of the way from the smoothed loss to a report that is worse, or better, this part is gone.
/// Reports of browsers on sound come every 5 s (libwebrtc's `kDefaultAudioReportInterval`): loss
/// that comes is met with the first or the second, and loss that went is waited for half a minute.
const RISE: u32 = 2;
const FALL: u32 = 4;

/// All packets are lost.
const ALL: f32 = 10_000.0;

/// The loss that is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LossEstimate {
    /// In parts of 10,000.
    smoothed: u32,
    step: usize,
}

impl LossEstimate {
    /// Takes the fraction that the peer missed, 0 to 1, as it reports it.
    pub(super) fn report(&mut self, fraction: f32) {
        // What is no number becomes zero.
        let reported = (fraction.clamp(0.0, 1.0) * ALL).round() as u32;
        if reported > self.smoothed {
            self.smoothed += (reported - self.smoothed).div_ceil(RISE);
        } else {
            self.smoothed -= (self.smoothed - reported).div_ceil(FALL);
        }
        while STEPS.get(self.step + 1).is_some_and(|(_, begins, _)| self.smoothed >= *begins) {
            self.step += 1;
        }
        while self.smoothed < STEPS[self.step].2 {
            self.step -= 1;
        }
    }

    /// What the encoder is to expect, in percent.
    pub(super) fn percent(self) -> u8 {
        STEPS[self.step].0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(reports: &[f32]) -> Vec<u8> {
        let mut loss = LossEstimate::default();
        let told = reports.iter().map(|report| {
            loss.report(*report);
            loss.percent()
        });
        told.collect()
    }

    #[test]
    fn a_steady_loss_is_told_as_the_step_that_is_nearest() {
        let steady = [(0.0, 0), (0.004, 0), (0.01, 1), (0.02, 1), (0.05, 5), (0.1, 10), (0.2, 20)];
        for (loss, percent) in steady.into_iter().chain([(0.5, 20), (1.0, 20), (f32::NAN, 0)]) {
            assert_eq!(told(&[loss; 20]).last(), Some(&percent), "{loss}");
        }
    }

    #[test]
    fn loss_that_comes_is_told_at_once_and_loss_that_went_is_waited_for() {
        assert_eq!(told(&[0.1, 0.1]), [5, 10]);
        assert_eq!(told(&[0.1, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]), [5, 10, 5, 5, 5, 5, 1]);
    }

    #[test]
    fn loss_between_two_steps_changes_nothing_with_each_report() {
        let wavering: Vec<f32> = [0.07, 0.08].repeat(50);
        assert!(told(&wavering)[10..].windows(2).all(|pair| pair[0] == pair[1]));
    }

    proptest! {
        #[test]
        fn whatever_is_reported_no_more_than_a_fifth_is_told_and_nothing_of_nothing(
            reports in prop::collection::vec(any::<f32>(), 0..50),
        ) {
            let mut loss = LossEstimate::default();
            for report in reports {
                loss.report(report);
                prop_assert!(loss.percent() <= 20 && loss.smoothed <= 10_000);
            }
            for _ in 0..60 {
                loss.report(0.0);
            }
            prop_assert_eq!(loss, LossEstimate::default());
        }
    }
}
