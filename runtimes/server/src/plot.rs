//! `--plot`: a call as a picture, panels over one time axis, as SVG.
//!
//! It draws what [`Log::figures`] tells and nothing else: where a log says nothing at its level of
//! detail, its panel says so in words, and no line stands at zero. It reads no file and writes
//! none.
//!
//! | what is drawn | limit | past it |
//! | --- | --- | --- |
//! | points of a line | `POINTS_MAX`, 4,000 | each of 1,000 columns keeps its first, lowest, highest and last value |
//! | bars of a count | `BARS_MAX`, 240 | wider bars |
//! | changes of the state | `STATES_MAX`, 500 | the strip ends with the number of those that follow |
//! | marks | `MARKS_MAX`, 200 | counted in the heading; what is wrong is marked always |
//! | characters of one text | `TEXT_MAX`, 160 | cut |

mod call;
mod panels;
mod series;
#[cfg(test)]
mod tests;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use smallrtc::ConnectionState;
use smallrtc::record::{Damage, Log, Replay};

use self::call::Call;
use self::panels::{Curve, Form, Panel, panels};
use self::series::Point;

/// The most characters of one text: a reason or a name may be anything in a forged log.
const TEXT_MAX: usize = 160;

const WIDTH: u32 = 1_240;
/// From the left edge to the time axis, for the values' numbers.
const LEFT: u32 = 72;
const RIGHT: u32 = 24;
const HEADING: u32 = 62;
const STRIP: u32 = 104;
const PANEL: u32 = 128;
/// A panel with nothing in it is a line of text.
const PANEL_ABSENT: u32 = 34;
/// Of a panel, for its title and legend.
const CAPTION: u32 = 24;
/// Below the last panel, for the numbers of time.
const AXIS: u32 = 34;

/// Rows of labels under the states.
const LANES: usize = 4;
const LANE: i32 = 15;
/// What a character of a label takes, about, in pixels.
const CHARACTER: f64 = 6.4;

const INK: RGBColor = RGBColor(0x1f, 0x29, 0x33);
const MUTED: RGBColor = RGBColor(0x66, 0x72, 0x80);
const GRID: RGBColor = RGBColor(0xe3, 0xe7, 0xeb);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Draws a call. `name` stands in the heading; with a replay the picture tells its outcome.
///
/// # Errors
/// What the drawing crate says of a picture that it cannot make.
pub(crate) fn draw(
    log: &Log,
    name: &str,
    replay: Option<&Replay>,
) -> Result<String, Box<dyn std::error::Error>> {
    let mut call = Call::of(log);
    mark_ends(&mut call, log, replay);
    let panels = panels(&call, log.media());
    let heights: Vec<u32> = (1..)
        .zip(&panels)
        .map(|(count, panel)| match &panel.absent {
            // The numbers of time stand below the last one.
            _ if count == panels.len() => PANEL + AXIS,
            Some(_) => PANEL_ABSENT,
            None => PANEL,
        })
        .collect();
    let height = HEADING + STRIP + heights.iter().sum::<u32>();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        heading(&root, &call, log, name, replay)?;
        let strip_area = root.clone().shrink((0, HEADING), (WIDTH, STRIP));
        strip(&strip_area, &call)?;
        let mut top = HEADING + STRIP;
        for (panel, height) in panels.iter().zip(heights) {
            let area = root.clone().shrink((0, top), (WIDTH, height));
            panel.draw(&area, &call, height)?;
            top += height;
        }
        root.present()?;
    }
    Ok(svg)
}

/// Marks where the log cannot be read any further, where it was full, and where a replay left it.
fn mark_ends(call: &mut Call, log: &Log, replay: Option<&Replay>) {
    if let Some(difference) = replay.and_then(|replay| replay.difference.as_ref()) {
        call.mark(difference.at.as_secs_f64(), "the replay differs", true);
    }
    let end = log.duration().as_secs_f64();
    match log.damage() {
        Some(Damage::Cut { .. }) => call.mark(end, "the log is cut", true),
        Some(_) => call.mark(end, "the log is damaged", true),
        None if log.is_full() => call.mark(end, "the log is full", true),
        None => {}
    }
}

fn heading(area: &Area<'_>, call: &Call, log: &Log, name: &str, replay: Option<&Replay>) -> Drawn {
    write(area, (LEFT as i32, 10), name, 21.0, INK, HPos::Left)?;
    let mut parts = vec![
        format!("smallrtc {}", log.crate_version()),
        format!("{} calls in {:.3} s", log.calls(), log.duration().as_secs_f64()),
        format!("media {}, messages {}", log.media().name(), log.messages().name()),
    ];
    if let Some(replay) = replay {
        let word = if replay.is_identical() { "identical" } else { "different" };
        parts.push(format!("replay {word}"));
    }
    if call.marks_more > 0 {
        parts.push(format!("{} more marks", call.marks_more));
    }
    let text = parts.join("   ·   ");
    write(area, (LEFT as i32, 37), &text, 14.5, MUTED, HPos::Left)?;
    let (end, is_bad) = match log.damage() {
        Some(damage) => (format!("{damage}: drawn up to there"), true),
        None if log.is_full() => ("ended at the limit of the log".to_owned(), true),
        None if log.is_whole() => return Ok(()),
        None => ("without an end: the recording was killed, or goes on".to_owned(), true),
    };
    let colour = if is_bad { panels::RED } else { MUTED };
    write(area, ((WIDTH - RIGHT) as i32, 37), &end, 14.5, colour, HPos::Right)
}

/// The states as a strip, and the marks with their labels below.
fn strip(area: &Area<'_>, call: &Call) -> Drawn {
    let (top, bottom) = (2, 26);
    for (index, (begin, state)) in call.states.iter().enumerate() {
        let end = call.states.get(index + 1).map_or(call.end, |(end, _)| *end);
        let (from, to) = (across(*begin, call), across(end, call));
        let (colour, text) = match (index + 1 == call.states.len(), call.states_more) {
            (true, more @ 1..) => (GRID, format!("{more} more changes")),
            _ => (colour_of(*state), state.to_string()),
        };
        area.draw(&Rectangle::new([(from, top), (to.max(from + 1), bottom)], colour.filled()))?;
        if f64::from(to - from) > text.len() as f64 * CHARACTER + 10.0 {
            let ink = if call.states_more > 0 { MUTED } else { WHITE };
            write(area, (from + 7, top + 5), &text, 14.0, ink, HPos::Left)?;
        }
    }
    write(area, (LEFT as i32 - 8, top + 5), "state", 13.0, MUTED, HPos::Right)?;
    labels(area, call, bottom + 5)
}

/// Each label in the first row that has room for it; a mark without room stays a line.
fn labels(area: &Area<'_>, call: &Call, top: i32) -> Drawn {
    // Where each row is taken from and to.
    let mut rows: [Vec<(f64, f64)>; LANES] = Default::default();
    // What is wrong has to be read, whatever else is there.
    let (bad, good): (Vec<_>, Vec<_>) = call.marks.iter().partition(|mark| mark.is_bad);
    for mark in bad.into_iter().chain(good) {
        let x = across(mark.at, call);
        let text = plain(&mark.text);
        let width = text.chars().count() as f64 * CHARACTER + 12.0;
        let is_left = f64::from(x) + width > f64::from(WIDTH - RIGHT);
        let from = if is_left { f64::from(x) - width } else { f64::from(x) };
        let taken = (from, from + width);
        let is_free = |row: &Vec<(f64, f64)>| {
            row.iter().all(|(begin, end)| taken.1 <= *begin || *end <= taken.0)
        };
        let Some(row) = rows.iter().position(is_free) else { continue };
        rows[row].push(taken);
        let y = top + i32::try_from(row).expect("a few rows") * LANE;
        let colour = if mark.is_bad { panels::RED } else { INK };
        area.draw(&PathElement::new([(x, top - 5), (x, y + 11)], colour.mix(0.5)))?;
        let (place, anchor) = if is_left { (x - 4, HPos::Right) } else { (x + 4, HPos::Left) };
        write(area, (place, y), &text, 13.0, colour, anchor)?;
    }
    Ok(())
}

impl Panel {
    fn draw(&self, area: &Area<'_>, call: &Call, height: u32) -> Drawn {
        self.caption(area)?;
        if height == PANEL_ABSENT {
            return Ok(());
        }
        let is_last = height > PANEL;
        let (low, high) = self.range();
        let mut chart = ChartBuilder::on(area)
            .margin_top(CAPTION)
            .margin_bottom(6)
            .margin_right(RIGHT)
            .set_label_area_size(LabelAreaPosition::Left, LEFT)
            .set_label_area_size(LabelAreaPosition::Bottom, if is_last { AXIS } else { 0 })
            .build_cartesian_2d(0.0..call.end, low..high)?;
        self.mesh(&mut chart)?;
        for curve in &self.curves {
            curve.draw(&mut chart, call.end)?;
        }
        for mark in &call.marks {
            let (colour, opacity) = if mark.is_bad { (panels::RED, 0.7) } else { (INK, 0.18) };
            let line = [(mark.at, low), (mark.at, high)];
            chart.draw_series([PathElement::new(line, colour.mix(opacity))])?;
        }
        Ok(())
    }

    fn mesh(&self, chart: &mut Chart<'_, '_>) -> Drawn {
        // What is counted downwards is no less than nothing.
        let is_counted = self.curves.iter().any(|curve| matches!(curve.form, Form::Bars(_)));
        let value = |value: &f64| panels::number(if is_counted { value.abs() } else { *value });
        let seconds = |seconds: &f64| format!("{} s", panels::number(*seconds));
        chart
            .configure_mesh()
            .label_style(("sans-serif", 13.0).into_font().color(&MUTED))
            .axis_style(GRID)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .x_labels(12)
            .y_labels(if self.absent.is_some() { 0 } else { 5 })
            .x_label_formatter(&seconds)
            .y_label_formatter(&value)
            .draw()?;
        Ok(())
    }

    fn caption(&self, area: &Area<'_>) -> Drawn {
        write(area, (LEFT as i32, 6), self.title, 15.0, INK, HPos::Left)?;
        let mut right = (WIDTH - RIGHT) as i32;
        if let Some(why) = &self.absent {
            return write(area, (right, 7), why, 13.0, MUTED, HPos::Right);
        }
        for (colour, text) in self.legend.iter().rev() {
            write(area, (right, 7), text, 13.0, colour.unwrap_or(MUTED), HPos::Right)?;
            right -= (text.chars().count() as f64 * CHARACTER) as i32 + 18;
        }
        Ok(())
    }

    /// The values that the panel has room for: all of them and zero, with air above.
    fn range(&self) -> Point {
        let values = || self.curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        let (low, high) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
        let air = ((high - low) * 0.08).max(1e-3);
        let is_even = high - low < 1e-6;
        (if low < 0.0 { low - air } else { 0.0 }, if is_even { 1.0 } else { high + air })
    }
}

impl Curve {
    fn draw(&self, chart: &mut Chart<'_, '_>, end: f64) -> Drawn {
        let line = self.colour.stroke_width(1);
        match self.form {
            Form::Dots => {
                let dot = |point: &Point| Circle::new(*point, 3, self.colour.filled());
                chart.draw_series(self.points.iter().map(dot))?;
            }
            Form::Bars(seconds) => {
                let bar = |point: &Point| {
                    let (from, height) = *point;
                    Rectangle::new(
                        [(from, 0.0), ((from + seconds).min(end), height)],
                        self.colour.filled(),
                    )
                };
                chart.draw_series(self.points.iter().filter(|point| point.1 != 0.0).map(bar))?;
            }
            Form::Line => {
                chart.draw_series([PathElement::new(self.points.clone(), line)])?;
            }
            Form::Steps => {
                chart.draw_series([PathElement::new(steps(&self.points, end), line)])?;
            }
            Form::Filled => {
                let outline = steps(&self.points, end);
                let (first, last) = (self.points.first(), self.points.last());
                let mut area = outline.clone();
                area.extend(last.map(|_| (end, 0.0)));
                area.extend(first.map(|first| (first.0, 0.0)));
                chart.draw_series([Polygon::new(area, self.colour.mix(0.25))])?;
                chart.draw_series([PathElement::new(outline, line)])?;
            }
        }
        Ok(())
    }
}

/// A line that stays where it is until the next point.
fn steps(points: &[Point], end: f64) -> Vec<Point> {
    let mut steps = Vec::with_capacity(2 * points.len() + 1);
    for point in points {
        if let Some((_, value)) = steps.last().copied() {
            steps.push((point.0, value));
        }
        steps.push(*point);
    }
    steps.extend(points.last().map(|last| (end, last.1)));
    steps
}

/// Where a time stands, in pixels from the left edge.
fn across(at: f64, call: &Call) -> i32 {
    let width = f64::from(WIDTH - LEFT - RIGHT);
    LEFT as i32 + ((at / call.end).clamp(0.0, 1.0) * width).round() as i32
}

fn colour_of(state: ConnectionState) -> RGBColor {
    match state {
        ConnectionState::New => RGBColor(0xa9, 0xb3, 0xbd),
        ConnectionState::Connecting => RGBColor(0xd6, 0x9e, 0x2e),
        ConnectionState::Connected => RGBColor(0x4b, 0x9b, 0x68),
        ConnectionState::Disconnected => panels::ORANGE,
        ConnectionState::Failed => panels::RED,
        _ => MUTED,
    }
}

fn write(
    area: &Area<'_>,
    place: (i32, i32),
    text: &str,
    size: f64,
    colour: RGBColor,
    anchor: HPos,
) -> Drawn {
    let style = ("sans-serif", size).into_font().color(&colour);
    let style = style.pos(Pos::new(anchor, VPos::Top));
    area.draw(&Text::new(plain(text), place, style))?;
    Ok(())
}

/// The text as XML may hold it, and not longer than it can be read.
fn plain(text: &str) -> String {
    let plain = |character: char| match character {
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        character if character.is_control() => '\u{fffd}',
        character => character,
    };
    text.chars().take(TEXT_MAX).map(plain).collect()
}
