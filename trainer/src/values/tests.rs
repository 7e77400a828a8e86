//! Tests of `values`.

use super::*;

fn written(count: usize, share: &Arc<ColumnMemory>) -> Values<f64> {
    let mut writer = ValueWriter::new(share.clone());
    writer
        .extend((0..count).map(|v| v as f64))
        .expect("written");
    writer.finish().expect("finished")
}

#[test]
fn what_exceeds_the_share_lies_in_a_file_and_reads_alike() {
    let count = 5 * CHUNK + 17;
    let share = ColumnMemory::of(3 * CHUNK * 8);
    let large = written(count, &share);
    assert!(large.is_file());
    assert_eq!(large.len(), count);
    assert!(
        large
            .iter()
            .enumerate()
            .all(|(at, value)| *value == at as f64)
    );
    // What it took before is there for others.
    let small = written(2 * CHUNK, &share);
    assert!(!small.is_file());
    let second = written(2 * CHUNK, &share);
    assert!(second.is_file(), "one chunk was left");
    assert_eq!(second[..], small[..]);
    assert_eq!(large.clone()[..], large[..]);
}

#[test]
fn copies_of_a_file_are_files_if_they_are_large() {
    let count = COPY_MAX / 4 + CHUNK;
    let all = written(count, &ColumnMemory::of(0));
    let narrow = all
        .clone()
        .convert(|value| value as f32)
        .expect("converted");
    assert!(narrow.is_file());
    assert!(
        narrow
            .iter()
            .enumerate()
            .all(|(at, value)| *value == at as f32)
    );
    let rows: Vec<u32> = (0..count as u32).rev().collect();
    let reversed = narrow.take(&rows);
    assert!(reversed.is_file());
    assert_eq!(reversed[0], (count - 1) as f32);
    assert_eq!(reversed[count - 1], 0.0);
    let few = narrow.take(&[7, 3]);
    assert!(!few.is_file());
    assert_eq!(few[..], [7.0, 3.0]);
}

#[test]
fn no_values_and_those_in_memory_stay_there() {
    let share = ColumnMemory::of(0);
    let none: Values<u32> = ValueWriter::new(share).finish().expect("finished");
    assert!(none.is_empty() && !none.is_file());
    let few: Values<f64> = vec![1.0, f64::NAN].into();
    assert!(few.clone().convert(|v| v as f32).expect("converted")[1].is_nan());
    assert_ne!(few, few.clone(), "as numbers are compared");
}
