//! Specimen: a value of any wire type, made from a source of numbers. For tests only.
//!
//! It is a serde deserializer that reads from nothing: whatever the type asks for, it invents, within the type's own limits.
//! So every message, present and future, is covered without a line written for it.

use std::fmt;

use serde::de::value::Error;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, SeqAccess,
    VariantAccess, Visitor,
};

/// Where a specimen's numbers come from.
pub(crate) trait Numbers {
    /// A number below `bound`, which is at least 1.
    fn below(&mut self, bound: u64) -> u64;
    /// Any number.
    fn any(&mut self) -> u64;
    /// A small number, at least 1: most small fields have few valid values.
    fn small(&mut self) -> u8;
}

/// The same numbers for ever: 1, 2, 3, ...; lists of one item, first variants.
pub(crate) struct Fixed(pub(crate) u64);

impl Numbers for Fixed {
    fn below(&mut self, bound: u64) -> u64 {
        u64::from(bound > 1)
    }
    fn any(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
    fn small(&mut self) -> u8 {
        u8::try_from(self.any() % 31).unwrap() + 1
    }
}

/// Pseudo-random numbers from a seed (splitmix64).
pub(crate) struct Seeded(pub(crate) u64);

impl Numbers for Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.any() % bound
    }
    fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn small(&mut self) -> u8 {
        1 + u8::try_from(self.below(4)).unwrap()
    }
}

/// A value of the type, or `None` where the numbers made one that the type refuses.
#[inline(never)] // what a type's making takes is compiled once, and not for each use: there are 150 of them
pub(crate) fn specimen<T: DeserializeOwned>(numbers: &mut dyn Numbers) -> Option<T> {
    T::deserialize(Maker(numbers)).ok()
}

/// A value from the first seed that gives one.
pub(crate) fn seeded<T: DeserializeOwned>(seed: u64) -> T {
    (0..10_000).find_map(|i| specimen(&mut Seeded(seed.wrapping_add(i << 32)))).expect("no seed makes a valid specimen")
}

struct Maker<'a>(&'a mut dyn Numbers);

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            #[allow(clippy::cast_possible_truncation, reason = "any bits will do")]
            visitor.$visit(self.0.any() as $type)
        }
    )*};
}

impl<'de> Deserializer<'de> for Maker<'_> {
    type Error = Error;

    numbers! {
        deserialize_u16 visit_u16 u16; deserialize_u32 visit_u32 u32; deserialize_u64 visit_u64 u64;
        deserialize_i8 visit_i8 i8; deserialize_i16 visit_i16 i16; deserialize_i32 visit_i32 i32; deserialize_i64 visit_i64 i64;
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u8(self.0.small())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.0.below(2) == 1)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let len = 1 + self.0.below(4);
        visitor.visit_string("häuser".chars().take(usize::try_from(len).unwrap()).collect())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_string(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let len = u8::try_from(1 + self.0.below(4)).unwrap();
        visitor.visit_byte_buf((0..len).map(|i| i.wrapping_mul(37)).collect())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.below(3) == 0 { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = self.0.below(3);
        visitor.visit_seq(Items { numbers: self.0, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Items { numbers: self.0, left: u64::try_from(len).unwrap() })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let index = self.0.below(u64::try_from(variants.len()).unwrap());
        visitor.visit_enum(Variant { numbers: self.0, index: u32::try_from(index).unwrap() })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom(Unasked))
    }

    serde::forward_to_deserialize_any! { i128 u128 f32 f64 char unit_struct map identifier ignored_any }
}

struct Unasked;

impl fmt::Display for Unasked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no wire type asks for this")
    }
}

struct Items<'a> {
    numbers: &'a mut dyn Numbers,
    left: u64,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(Maker(self.numbers)).map(Some)
    }
}

struct Variant<'a> {
    numbers: &'a mut dyn Numbers,
    index: u32,
}

impl<'de, 'a> EnumAccess<'de> for Variant<'a> {
    type Error = Error;
    type Variant = Maker<'a>;
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Maker<'a>), Error> {
        Ok((seed.deserialize(self.index.into_deserializer())?, Maker(self.numbers)))
    }
}

impl<'de> VariantAccess<'de> for Maker<'_> {
    type Error = Error;
    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
