//! The organisation's own hold music: a WAV file, brought to the one rate at which the gateway plays.

use std::path::Path;
use std::sync::Arc;

use super::Config;
use crate::media::music;

/// A longer recording would only fill memory: 10 minutes are 9.6 MB.
const LONGEST_SECS: u32 = 600;
const EXPECTED: &str = "a WAV file of PCM, mono or stereo, 4,000 to 192,000 Hz, 10 minutes at most";

impl Config {
    /// What callers on hold hear: the file that is named, or the built-in music.
    ///
    /// # Errors
    /// The file cannot be read or is not what is expected; says which file and what was found.
    pub fn hold_music(&self) -> anyhow::Result<Arc<[i16]>> {
        let Some(path) = &self.calls.hold_music_file else { return Ok(music::built_in()) };
        let wrong = |found| self.wrong("calls.hold_music_file", EXPECTED, format!("\"{}\" ({found})", path.display()));
        Ok(read(path).map_err(wrong)?)
    }
}

fn read(path: &Path) -> Result<Arc<[i16]>, String> {
    let mut wav = hound::WavReader::open(path).map_err(|error| said(&error))?;
    let spec = wav.spec();
    if !(1..=2).contains(&spec.channels) {
        return Err(format!("{} channels", spec.channels));
    }
    if !(4_000..=192_000).contains(&spec.sample_rate) {
        return Err(format!("{} Hz", spec.sample_rate));
    }
    let secs = wav.duration() / spec.sample_rate;
    if secs > LONGEST_SECS {
        return Err(format!("{} min {} s long", secs / 60, secs % 60));
    }
    let samples: Result<Vec<f32>, _> = match spec.sample_format {
        hound::SampleFormat::Float => wav.samples::<f32>().collect(),
        hound::SampleFormat::Int => {
            let full = (1u64 << (spec.bits_per_sample.clamp(1, 32) - 1)) as f32;
            wav.samples::<i32>().map(|sample| sample.map(|sample| sample as f32 / full)).collect()
        }
    };
    let samples = samples.map_err(|error| said(&error))?;
    let channels = usize::from(spec.channels);
    let mono: Vec<f32> = samples.chunks_exact(channels).map(|one| one.iter().sum::<f32>() / channels as f32).collect();
    let pcm = music::resample(&mono, spec.sample_rate);
    if pcm.is_empty() { Err("no sound in it".to_owned()) } else { Ok(pcm) }
}

fn said(error: &hound::Error) -> String {
    match error {
        hound::Error::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "it ends too soon".to_owned(),
        hound::Error::IoError(error) => error.to_string(),
        hound::Error::FormatError(why) => format!("no WAV file: {why}"),
        hound::Error::TooWide | hound::Error::InvalidSampleFormat => "samples of a width that is not known".to_owned(),
        hound::Error::UnfinishedSample => "it ends amid a sample".to_owned(),
        hound::Error::Unsupported => "no PCM".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path, file: &str) -> Config {
        let text = format!("domain = \"a.org\"\n[calls]\nhold_music_file = \"{file}\"\n");
        Config::parse(&dir.join("ringway.toml"), &text).expect("it reads")
    }

    fn write(path: &Path, spec: hound::WavSpec, secs: u32) {
        let mut wav = hound::WavWriter::create(path, spec).expect("a file");
        let full = 2f64.powi(i32::from(spec.bits_per_sample) - 1);
        for n in 0..spec.sample_rate * secs {
            let sample = (f64::from(n) * 440.0 * std::f64::consts::TAU / f64::from(spec.sample_rate)).sin() * 0.5;
            for _ in 0..spec.channels {
                match spec.sample_format {
                    hound::SampleFormat::Float => wav.write_sample(sample as f32).expect("a sample"),
                    hound::SampleFormat::Int => wav.write_sample((sample * full) as i32).expect("a sample"),
                }
            }
        }
        wav.finalize().expect("a file");
    }

    #[test]
    fn recordings_of_every_kind_are_played_at_8000_hz_as_loud_as_they_are() {
        let dir = std::env::temp_dir().join(format!("ringway-music-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        for (channels, sample_rate, bits_per_sample) in
            [(1, 8_000, 16), (2, 44_100, 16), (1, 48_000, 24), (2, 11_025, 8), (1, 16_000, 32)]
        {
            for sample_format in [hound::SampleFormat::Int, hound::SampleFormat::Float] {
                if sample_format == hound::SampleFormat::Float && bits_per_sample != 32 {
                    continue;
                }
                write(&dir.join("a.wav"), hound::WavSpec { channels, sample_rate, bits_per_sample, sample_format }, 2);
                let pcm = config(&dir, "a.wav").hold_music().expect("it is read");
                assert!(pcm.len().abs_diff(16_000) <= 1, "{sample_rate}: {}", pcm.len());
                let most = pcm[1_000..15_000].iter().map(|sample| sample.unsigned_abs()).max();
                assert!((15_900..=16_900).contains(&most.unwrap_or(0)), "{sample_rate}: {most:?}");
            }
        }
        assert_eq!(
            Config { calls: super::super::Calls::default(), ..config(&dir, "") }.hold_music().expect("it is made").len(),
            160_000
        );
        std::fs::remove_dir_all(dir).expect("it is ours");
    }

    #[test]
    fn what_cannot_be_played_is_said_with_file_and_line() {
        let dir = std::env::temp_dir().join(format!("ringway-no-music-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let int = hound::SampleFormat::Int;
        let spec = hound::WavSpec { channels: 1, sample_rate: 8_000, bits_per_sample: 16, sample_format: int };
        std::fs::write(dir.join("text.wav"), "hello, this is no sound").expect("a file");
        write(&dir.join("empty.wav"), spec, 0);
        write(&dir.join("long.wav"), hound::WavSpec { sample_rate: 4_000, bits_per_sample: 8, ..spec }, 601);
        write(&dir.join("many.wav"), hound::WavSpec { channels: 6, ..spec }, 1);
        for (file, why) in [
            ("none.wav", "No such file"),
            ("text.wav", "no WAV file"),
            ("empty.wav", "no sound in it"),
            ("long.wav", "10 min 1 s long"),
            ("many.wav", "6 channels"),
        ] {
            let error = config(&dir, file).hold_music().expect_err(file).to_string();
            let expected =
                format!("ringway.toml:3: calls.hold_music_file: expected {EXPECTED}, found \"{}", dir.join(file).display());
            assert!(error.contains(&expected) && error.contains(why), "{error}");
        }
        std::fs::remove_dir_all(dir).expect("it is ours");
    }
}
